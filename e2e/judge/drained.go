package judge

import (
	"fmt"
	"slices"
	"time"

	"github.com/instarhq/instar/core"
)

// Drained checks I5: an instance is wanted destroyed only when every healthy traffic target of every route
// that had listed it reports that nothing is in flight on it any more, or has applied the route without it
// and the drain deadline is over. Instances that ended by themselves cannot be drained.
func Drained(records []core.Record) ([]string, error) {
	var broken []string
	listed := map[string]map[string]uint64{} // instance → route → newest generation that lists it
	condemned := map[string]bool{}
	err := replay(records, func(w *World, r *core.Record) {
		for name, route := range w.Routes {
			if !writes(r, core.KindRoute, name) {
				continue
			}
			for _, pool := range route.Pools {
				for _, endpoint := range pool.Endpoints {
					if listed[endpoint.Instance] == nil {
						listed[endpoint.Instance] = map[string]uint64{}
					}
					listed[endpoint.Instance][name] = route.Generation
				}
			}
		}
		for id, instance := range w.Instances {
			if instance.Desired != core.DesiredDestroy || condemned[id] {
				continue
			}
			condemned[id] = true
			if w.Statuses[id].Phase.Over() {
				continue
			}
			for name, generation := range listed[id] {
				if why := reachable(w, &instance, name, generation, r.Txn.Meta.Time); why != "" {
					broken = append(broken, fmt.Sprintf("I5: record %d destroys %s while %s", r.Seq, id, why))
				}
			}
		}
	})
	return broken, err
}

// reachable says how a route can still send to the instance, or have something in flight on it.
func reachable(w *World, instance *core.Instance, name string, generation uint64, now time.Time) string {
	route, ok := w.Routes[name]
	if !ok {
		return "" // removed, and confirmed so by every target before it went
	}
	for node := range w.Nodes {
		for _, target := range w.Nodes[node].Targets {
			if !carries(target, route) {
				continue
			}
			report := w.Reports[core.RouteStatusID(name, node, target.Name)]
			left := report.Generation > generation || report.Removed
			if left && (report.Removed || slices.Contains(report.Quiet, instance.ID)) {
				continue
			}
			late := !instance.Drain.IsZero() && !now.Before(instance.Drain.Add(route.Spec.Drain.Std()))
			if status, known := w.Living[node]; late && (left || !target.Healthy || known && status.State != core.NodeReady) {
				continue // what cannot be reached is waited for until the deadline
			}
			return fmt.Sprintf("target %s on %s has route %s in generation %d, which is not known to be without it", target.Name, node, name, report.Generation)
		}
	}
	return ""
}
