// Package arch keeps the house in order: a broken wall is a failing test with the reason in it.
package arch
