// Package config holds the documents: wire types, strict loading, all faults at once, defaults once.
//
// Loading is strict. Every fault reads "file:line: field: what is wrong (did you mean …)". ${NAME} in a string stands for a value of
// spec.variables and for nothing else; $${ stands for ${ itself. Substitution works on the parsed strings, so
// that a variable cannot bring in structure.
//
// docs/documents.md and docs/schema are made from the types, their comments and their rules.
package config

//go:generate go test -run TestGeneratedFilesAreCurrent . -update
