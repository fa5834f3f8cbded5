// Package engine runs a plan: bounded, parallel, cancellable. One goroutine owns the schedule.
package engine
