// Package raftstore is the core.Store over hashicorp/raft: a replicated, versioned, audited object
// store that knows nothing of services.
//
// A transaction is stamped, checked and encoded by the leader, shares a Raft entry with others that wait
// at the same time, is made durable by the log of Raft, and is applied by package fsm, which writes
// record and state in one transaction. Its receipt is given when both are on disk. DESIGN.md has the
// reasons, and what is done about each known trap of the libraries underneath.
package raftstore
