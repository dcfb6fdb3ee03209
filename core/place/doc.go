// Package place decides which compute target gets an instance. It is pure: a Ledger is told of every
// instance that exists, and asked for places.
//
// Among the healthy targets that the revision may use and that have room, the node with the fewest
// instances of the same revision gets the next one; then the target that keeps the largest share of its
// cpu and memory free (the smaller of the two shares counts); then the one with the fewest instances.
// What an instance asks for is reserved from its record to its end; 0 reserves nothing, and a target
// that does not know its capacity has no limit.
package place
