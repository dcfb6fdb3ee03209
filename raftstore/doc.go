// Package raftstore is the core.Store over hashicorp/raft: a replicated, versioned, audited object
// store that knows nothing of services.
//
// A transaction is stamped, checked and encoded by the leader, shares a Raft entry with others that wait
// at the same time, is made durable by the logs of Raft on a majority of the nodes, and is applied by
// package fsm; then its receipt is given. The state file follows a little behind, record and state in one
// transaction, and catches up from the log at start. DESIGN.md has the reasons, and what is done about
// each known trap of the libraries underneath.
package raftstore
