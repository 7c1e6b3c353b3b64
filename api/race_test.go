//go:build race

package api_test

// underRace tells that the race detector is on, which costs eight times the time.
const underRace = true
