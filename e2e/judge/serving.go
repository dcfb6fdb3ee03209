package judge

import (
	"time"

	"github.com/instarhq/instar/core"
	"github.com/instarhq/instar/e2e/load"
)

// left is a pool that gets no requests any more, as soon as every data plane knows.
type left struct {
	interval   int
	generation uint64
	committed  time.Time
}

// Serving says which revisions of a route got requests when, whatever the strategy: each from the commit that
// gave its pool a weight until every data plane has confirmed the routes in which it has none.
func Serving(records []core.Record, route string) (load.Timeline, error) {
	var timeline load.Timeline
	open := map[int]int{} // revision → its interval
	var leaving []left
	err := replay(records, func(w *World, r *core.Record) {
		now, ok := w.Routes[route]
		if !ok {
			return
		}
		if writes(r, core.KindRoute, route) {
			weights := map[int]bool{}
			for _, pool := range now.Pools {
				if weights[pool.Revision] = pool.Weight > 0; pool.Weight > 0 {
					if _, serves := open[pool.Revision]; !serves {
						open[pool.Revision] = len(timeline)
						timeline = append(timeline, load.Interval{Revision: pool.Revision, From: r.Txn.Meta.Time})
					}
				}
			}
			for revision, interval := range open {
				if !weights[revision] {
					delete(open, revision)
					leaving = append(leaving, left{interval, now.Generation, r.Txn.Meta.Time})
				}
			}
		}
		still := leaving[:0]
		for _, l := range leaving {
			if confirmed(w, now, l.generation) {
				timeline[l.interval].To = r.Txn.Meta.Time
			} else {
				still = append(still, l)
			}
		}
		leaving = still
	})
	for _, l := range leaving {
		timeline[l.interval].To = l.committed // not confirmed in the log: it gets no time on top
	}
	return timeline, err
}
