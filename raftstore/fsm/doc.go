// Package fsm applies committed log entries to a state, deterministically: first to what is in memory, then,
// a little later and many at once, to a bbolt file, where a record and the state it explains are written
// together or not at all. Reads see both as one. ../DESIGN.md says how, under "The state file".
//
// It knows nothing of Raft but that entries have an index and a term: it uses neither a network, nor a
// clock (a timer that it is given decides when the file is written, never what), nor randomness, and never
// iterates over a Go map where the order could be seen. Two machines that were given the same entries,
// however batched, have the same content.
package fsm
