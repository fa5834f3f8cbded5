// Package assets keeps a cache of programs that rekindle runs beside itself.
//
// A program comes from a pinned release file, fetched over https and checked against its published
// SHA-256, or is built from a small Go module that is embedded as a txtar archive. Fetching is
// tried first. What cannot be reached is built instead, and said so; a file whose checksum is
// wrong is an error and never built around.
//
// An entry of the cache is named after everything that decides its content, is made once however
// many processes want it, and appears under its name only when it is complete. Killing a process
// at any point leaves nothing that a later one would mistake for a program.
package assets
