package recovery

import "github.com/instarhq/instar/core"

// floorShift leaves 2^40 generations of routes to each generation of a cluster, and 2^13 of those to
// what JSON readers take for an exact number.
const floorShift = 40

// Floor is what the generation of every route is over that is written under the given generation of a
// cluster. So whatever a data plane remembers from the time that a restore has forgotten is older.
func Floor(generation uint64) uint64 {
	if generation == 0 {
		return 0
	}
	return (generation - 1) << floorShift
}

// Looking reports whether a recovery waits for its approval: nothing may be changed.
func Looking(r core.Recovery, exists bool) bool { return exists && r.Approved.IsZero() }
