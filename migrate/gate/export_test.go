package gate

import "github.com/rekindle-dev/rekindle/internal/kube"

// NewRefusing gives a gate as it is where the server cannot change pods by a policy.
func NewRefusing(c *kube.Client) *Gate { return &Gate{client: c, refuses: true} }
