// Package e2e runs the real command on real nodes: the sample repository on kind, with the lab's images, from nothing to
// proven and away again. Its tests have the build tag e2e and need `make lab`.
package e2e
