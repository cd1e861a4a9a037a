// Package clients knows the NEXUS clients API as its frontend does: what it asks for, in which proportions,
// and what it writes. It draws requests and knows nothing of who answers them.
package clients
