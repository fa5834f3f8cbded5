// Package migrate carries state from one cluster to the next: what Git cannot hold, and how it comes back.
//
// It plans and never acts, as bootstrap does. A rebuild is the plan of up with the steps that [Rebuild] adds to it; a
// live migration is a [Handover], whose parts say in their order why at most one cluster can write.
package migrate
