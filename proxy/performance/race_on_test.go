//go:build race

package performance

const raceDetector = true
