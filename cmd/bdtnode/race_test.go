//go:build race

package main

// raceDetector tells that the race detector watches the tests and the replicas that they start.
const raceDetector = true
