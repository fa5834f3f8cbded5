package kube

import (
	"context"

	"github.com/rekindle-dev/rekindle/internal/fault"
)

// Lost are those of some objects that do not exist, and those that are being deleted. It changes nothing.
func (c *Client) Lost(ctx context.Context, refs []Ref) (gone, going []Ref, err error) {
	const isGone, isGoing = 1, 2
	states := make([]int, len(refs))
	err = each(ctx, refs, func(ctx context.Context, i int, ref Ref) error {
		obj, err := c.Get(ctx, ref)
		switch {
		case err != nil:
			return fault.Wrap(err, fault.Failed, "read").On("%s", ref)
		case obj == nil:
			states[i] = isGone
		case obj.GetDeletionTimestamp() != nil:
			states[i] = isGoing
		}
		return nil
	})
	for i, ref := range refs {
		switch states[i] {
		case isGone:
			gone = append(gone, ref)
		case isGoing:
			going = append(going, ref)
		}
	}
	return gone, going, err
}
