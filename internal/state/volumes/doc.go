// Package volumes takes the state of a cluster and brings it back: the data of claims by movers, and kept objects.
//
// A mover is a Job beside the claim that runs restic and nothing else. It has no access to the API server, and its
// credentials are in a Secret that goes with it. [Find] tells what there is to take, [Mover] moves one claim's data,
// [Together] says which claims one moment has to hold for.
package volumes
