// Package supervise keeps a set of processes running on behalf of a folder.
//
// The folder says which: a file with the wanted set, replaced as a whole. One supervisor process for
// each folder ([Run]) starts what is wanted, restarts what ends, stops what is wanted no longer, and writes
// down what it sees. It holds an exclusive lock on a file of the folder for as long as it lives, so
// whether it runs is a question to the kernel and never a guess about process ids. On Linux the
// kernel kills its children when it dies, however it dies; so nothing is ever left without one.
//
// Callers ([Folder]) change the wanted set and poke the supervisor through a named pipe, which has no
// limit on the length of its path as a socket has. The poke carries nothing: all there is to know is
// in the files, so a poke that is lost or doubled, or a caller that is killed, does no harm.
package supervise
