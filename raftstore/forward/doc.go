// Package forward carries questions of a node's store to another node's: transactions and read-index
// requests for the leader, and what members ask each other about their progress and their log.
//
// It is the protocol instar-propose/1, over connections that somebody else opens, accepts and
// authenticates. One connection carries many requests at a time; what comes together while a write is
// under way goes with the next one.
//
//	frame    = length (4 bytes, big-endian, of what follows) kind (1) id (8) payload
//	propose  = milliseconds until the deadline (4; 0: none) record (core/audit)
//	index    = milliseconds until the deadline (4; 0: none)
//	progress, ping = nothing
//	compare  = core.TreeHead as JSON
//
// An answer bears the id of its request; its kind says what its payload is. A request that was written to
// a connection which then broke has an unknown outcome (CodeTimeout); one that was not is CodeUnavailable.
package forward
