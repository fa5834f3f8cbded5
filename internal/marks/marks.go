// Package marks says how rekindle knows again what it made, wherever labels have Kubernetes' syntax.
package marks

// LabelOwner with the value Owner is on everything that rekindle makes. What lacks it is never taken over or removed.
const (
	LabelOwner = "rekindle.dev/owner"
	Owner      = "rekindle"
)
