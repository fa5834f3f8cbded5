// Package migrate carries state from one cluster to the next: what Git can not hold, and how it comes back.
//
// It plans and never acts, as bootstrap does: a rebuild is the plan of up with the steps that [Rebuild] adds to it.
package migrate
