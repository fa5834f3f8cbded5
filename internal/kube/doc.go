// Package kube speaks with one API server: connect, compare, apply, watch, prove, explain, delete.
//
// A [Client] holds what every user of one server shares: one transport, one
// discovery cache and one REST mapper. A [Watcher] is the single place that tells readiness: it
// watches, it never polls. Everything that changes the cluster compares first and leaves alone what
// is already as wanted, so that a second run writes nothing.
package kube
