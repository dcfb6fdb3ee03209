// Package fsm applies committed log entries to a bbolt file: deterministically, in batches, and so that
// a record and the state it explains are written together or not at all.
//
// It knows nothing of Raft but that entries have an index and a term: it uses neither a network, nor a
// clock, nor randomness, and never iterates over a Go map where the order could be seen. Two machines
// that were given the same entries, however batched, have the same content.
package fsm
