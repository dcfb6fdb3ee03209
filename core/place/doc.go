// Package place decides which compute target gets an instance. It is pure: a Ledger is told of every
// instance that exists, and asked for places.
//
// Among the healthy targets that the revision may use (driver, target, constraints), whose node takes
// anything, and that have room, those come first whose value of each attribute to spread over has the
// fewest instances of the revision; then those of the node with the fewest; then the target that keeps
// the largest share of its cpu and memory free (the smaller of the two shares counts); then the one with
// the fewest instances. What an instance asks for is reserved from its record to its end; 0 reserves
// nothing, and a target that does not know its capacity has no limit.
package place
