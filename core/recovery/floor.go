package recovery

import (
	"strconv"
	"strings"

	"github.com/instarhq/instar/core"
	"github.com/instarhq/instar/core/state"
)

// floorShift leaves 2^40 generations of routes to each generation of a cluster, and 2^13 of those to
// what JSON readers take for an exact number.
const floorShift = 40

// Floor is what the generation of every route is over that is written after the newest restore. So
// whatever a data plane remembers from the time that the restore has forgotten is older. 0 if there
// never was a restore.
func Floor(r state.Reader) uint64 {
	generation := uint64(1)
	for origin := range state.Lineages.All(r) {
		_, last, _ := strings.Cut(origin[strings.Index(origin, "/")+1:], "/")
		if n, err := strconv.ParseUint(last, 10, 64); err == nil {
			generation = max(generation, n)
		}
	}
	return (generation - 1) << floorShift
}

// Looking reports whether a recovery waits for its approval: nothing may be changed.
func Looking(r state.Reader) bool {
	recovery, ok := state.Recoveries.Get(r, core.RecoveryObject)
	return ok && recovery.Approved.IsZero()
}

// Under is the recovery that is under way; the zero Recovery if there is none.
func Under(r state.Reader) core.Recovery {
	recovery, _ := state.Recoveries.Get(r, core.RecoveryObject)
	return recovery
}
