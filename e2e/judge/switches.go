package judge

import (
	"time"

	"github.com/instarhq/instar/core"
	"github.com/instarhq/instar/e2e/load"
)

// Switch is one move of a route from a revision to another.
type Switch struct {
	Seq       uint64 // the record that moved the pools
	From, To  int    // From 0: the route was new
	Committed time.Time
	// Confirmed is when the last healthy traffic target had read the new generation, or a newer one,
	// back from its data plane; zero if that is not in the log.
	Confirmed time.Time
}

// Switches finds every switch of a route, which is when its first pool with weight becomes that of another
// revision. For routes whose requests several revisions share at a time there is Serving.
func Switches(records []core.Record, route string) ([]Switch, error) {
	var found []Switch
	active, generation := 0, uint64(0)
	err := replay(records, func(w *World, r *core.Record) {
		now, ok := w.Routes[route]
		if ok && writes(r, core.KindRoute, route) {
			if to := weighted(now); to != 0 && to != active {
				found = append(found, Switch{Seq: r.Seq, From: active, To: to, Committed: r.Txn.Meta.Time})
				active, generation = to, now.Generation
			}
		}
		if n := len(found); n > 0 && found[n-1].Confirmed.IsZero() && confirmed(w, now, generation) {
			found[n-1].Confirmed = r.Txn.Meta.Time
		}
	})
	return found, err
}

// weighted is the revision that gets the route's requests; 0 if none does.
func weighted(route core.Route) int {
	for _, pool := range route.Pools {
		if pool.Weight > 0 {
			return pool.Revision
		}
	}
	return 0
}

// confirmed reports whether every healthy traffic target that carries the route has the generation or a
// newer one in effect.
func confirmed(w *World, route core.Route, generation uint64) bool {
	some := false
	for node := range w.Nodes {
		for _, target := range w.Nodes[node].Targets {
			if !carries(target, route) {
				continue
			}
			report, ok := w.Reports[core.RouteStatusID(route.Name, node, target.Name)]
			if !ok || report.Generation < generation {
				return false
			}
			some = true
		}
	}
	return some
}

func carries(target core.Target, route core.Route) bool {
	return target.Kind == core.DriverTraffic && target.Driver == route.Spec.Driver && target.Healthy &&
		(route.Spec.Target == "" || route.Spec.Target == target.Name)
}

// Timeline says which revision of a route was active when.
func Timeline(switches []Switch) load.Timeline {
	var timeline load.Timeline
	for _, s := range switches {
		confirmed := s.Confirmed
		if confirmed.IsZero() {
			confirmed = s.Committed // not confirmed in the log: the old revision gets no time on top
		}
		timeline = timeline.Switch(s.To, s.Committed, confirmed)
	}
	return timeline
}
