// Package spec turns HCL into core nouns, and says in the operator's own lines what is wrong with it.
//
// The way of a declaration:
//
//	Load        files, directories or standard input → Sources (parsed, nothing evaluated)
//	Evaluate    Sources and variables → core.Set, normalised and checked (the client does this)
//	Admit       a core.Set that came over the API → the same, normalised and checked again (the server)
//	Diff        two core.Specs → what an operator would call the changes
//
// Evaluate and Admit share Normalise and the checks behind Validate, so what a client accepts a server
// accepts, and both compute the same digest.
//
// The daemon's own configuration uses Load, Sources.Body, DecodeBody, Functions and Format.
package spec
