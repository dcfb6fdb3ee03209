package spec

import (
	"fmt"

	"github.com/instarhq/instar/core"
)

// bound is an attribute that bounds how many instances are replaced at a time.
type bound struct {
	name  string
	value core.Bound
}

func boundsOf(r *core.RolloutSpec) []bound {
	return []bound{{"max_surge", r.MaxSurge}, {"max_unavailable", r.MaxUnavailable}}
}

// notRolling refuses what only rolling rollouts have.
func (s *serviceChecker) notRolling(r *core.RolloutSpec) {
	for _, b := range boundsOf(r) {
		if b.value != "" {
			s.fault("Not for this strategy", fmt.Sprintf("%s is for the strategy %q: %q makes all new instances before it replaces any.",
				b.name, core.StrategyRolling, r.Strategy), "rollout", b.name)
		}
	}
}

func (s *serviceChecker) rolling(r *core.RolloutSpec) {
	if r.KeepPrevious != 0 {
		s.fault("Not for this strategy", fmt.Sprintf("keep_previous is for the strategy %q: after a rolling rollout nothing of the previous revision is left to keep. A rollback makes its instances again.",
			core.StrategyBlueGreen), "rollout", "keep_previous")
	}
	valid := true
	for _, b := range boundsOf(r) {
		if !b.value.Valid() {
			valid = false
			s.fault("Invalid number of instances", fmt.Sprintf(`%s is a number of instances, as in 2, or a share of the count between "0%%" and "100%%", as in "25%%"; not %q.`,
				b.name, b.value), "rollout", b.name)
		}
	}
	if valid && r.MaxSurge.None() && r.MaxUnavailable.None() {
		s.fault("Nothing could move", "max_surge and max_unavailable are both 0: with neither one instance more nor one fewer than the count, none can be replaced. Allow one of them.",
			"rollout", "max_surge")
	}
}
