//go:build !race

package performance

const raceDetector = false
