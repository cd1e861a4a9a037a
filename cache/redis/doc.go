// Package redis is the tier that instances share.
package redis
