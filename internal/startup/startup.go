// Package startup keeps the garbage collector out of the start of a program. The packages that the command is made of
// allocate some 10 MB before main begins, all of which stays: to look at it again and again on the way is a quarter of the time
// that `rekindle version` takes. A program that imports it calls Done before it does anything that lasts.
package startup

import "runtime/debug"

// percent is what the garbage collector is to go by, by GOGC or by default. Go initializes packages in the order of their
// paths as soon as all that they import are: this one imports so little that it comes before most of those that allocate.
var percent = debug.SetGCPercent(-1)

// Done has the garbage collector run as in any program.
func Done() { debug.SetGCPercent(percent) }
