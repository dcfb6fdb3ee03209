package judge

import (
	"fmt"

	"github.com/instarhq/instar/core"
)

// Verified checks I1: no route sends to an instance that was not verified. Every endpoint must have been
// healthy before it was listed, and a deployed revision gets weight only after all its smoke checks.
func Verified(records []core.Record) ([]string, error) {
	var broken []string
	healthy, switched := map[string]bool{}, map[string]bool{}
	err := replay(records, func(w *World, r *core.Record) {
		for i := range r.Txn.Ops {
			op := &r.Txn.Ops[i]
			if op.Kind == core.KindInstanceStatus && w.Statuses[op.ID].Healthy {
				healthy[op.ID] = true
			}
		}
		for name, route := range w.Routes {
			if !writes(r, core.KindRoute, name) {
				continue
			}
			for _, pool := range route.Pools {
				for _, endpoint := range pool.Endpoints {
					if !healthy[endpoint.Instance] {
						broken = append(broken, fmt.Sprintf("I1: record %d lists %s in route %s, which was never healthy", r.Seq, endpoint.Instance, name))
					}
				}
			}
		}
		for id, rollout := range w.Rollouts {
			if !writes(r, core.KindRollout, id) || rollout.Phase != core.RolloutSwitching {
				continue
			}
			revision := core.RevisionID(rollout.Service, rollout.To)
			if goesOn := rollout.GoesOn() && switched[revision]; !goesOn && !smokeChecked(w, &rollout) {
				broken = append(broken, fmt.Sprintf("I1: record %d switches rollout %s without its smoke checks", r.Seq, id))
			}
			switched[revision] = true
		}
	})
	return broken, err
}

// smokeChecked reports whether some target passed all smoke checks of the rollout, and none failed them.
func smokeChecked(w *World, rollout *core.Rollout) bool {
	revision := w.Revisions[core.RevisionID(rollout.Service, rollout.To)]
	if rollout.Kind == core.RolloutRollback || len(revision.Spec.Rollout.Smoke) == 0 {
		return true
	}
	passed := false
	for _, check := range w.Checks {
		if check.Rollout != rollout.ID() {
			continue
		}
		if check.Passed != check.Total || check.Total == 0 {
			return false
		}
		passed = true
	}
	return passed
}

// Enough checks I2: during a rollout, the endpoints that get a route's requests are never fewer than the
// wanted count, or of a rolling one that less what may be unavailable. It is for logs in which no instance fails by itself.
func Enough(records []core.Record) ([]string, error) {
	var broken []string
	err := replay(records, func(w *World, r *core.Record) {
		for name, route := range w.Routes {
			service, ok := w.Services[route.Service]
			if !ok || service.Deleting || route.Removed || service.Active == 0 {
				continue
			}
			serving := serving(w, route)
			if wanted := wanted(w, &service); serving < wanted {
				broken = append(broken, fmt.Sprintf("I2: after record %d (%s) route %s has %d healthy instances, wanted %d",
					r.Seq, r.Txn.Meta.Verb, name, serving, wanted))
			}
		}
	})
	return broken, err
}

func serving(w *World, route core.Route) int {
	n := 0
	for _, pool := range route.Pools {
		for _, endpoint := range pool.Endpoints {
			if pool.Weight > 0 && w.Statuses[endpoint.Instance].Healthy {
				n++
			}
		}
	}
	return n
}

// wanted is how many instances must serve now: while a rollout has not switched, that many as the revision
// before it had; an apply that scales, too, speaks of the new one.
func wanted(w *World, service *core.Service) int {
	rollout, ok := w.Rollouts[core.RolloutID(service.Name, service.Rollouts)]
	if ok && rollout.Rolling != nil && !rollout.Phase.Over() && rollout.Phase != core.RolloutBaking {
		return least(service, &rollout)
	}
	if ok && service.Active == rollout.From && !rollout.Phase.Over() {
		return min(service.Count, rollout.FromCount)
	}
	return service.Count
}

// least is how many serve at least while a rolling rollout goes on.
func least(service *core.Service, rollout *core.Rollout) int {
	most, fewest := max(service.Count, rollout.FromCount), min(service.Count, rollout.FromCount)
	unavailable := rollout.Rolling.MaxUnavailable.Down(fewest)
	if rollout.Rolling.MaxSurge.Up(most) == 0 {
		unavailable = max(unavailable, 1)
	}
	return fewest - unavailable
}

// Bounded checks that a rolling rollout makes instances only as long as its surge allows. It is for logs in
// which no node goes away.
func Bounded(records []core.Record) ([]string, error) {
	var broken []string
	known := map[string]bool{}
	err := replay(records, func(w *World, r *core.Record) {
		made := map[string]bool{} // services that got instances
		for i := range r.Txn.Ops {
			if op := &r.Txn.Ops[i]; op.Kind == core.KindInstance && !op.Delete && !known[op.ID] {
				known[op.ID], made[w.Instances[op.ID].Service] = true, true
			}
		}
		for name := range made {
			service := w.Services[name]
			rollout := w.Rollouts[core.RolloutID(name, service.Rollouts)]
			if rollout.Rolling == nil || rollout.Phase.Over() || rollout.Phase == core.RolloutBaking {
				continue
			}
			most := max(service.Count, rollout.FromCount)
			most += rollout.Rolling.MaxSurge.Up(most)
			if alive := alive(w, name); alive > most {
				broken = append(broken, fmt.Sprintf("record %d makes instances of %s, and %d are alive: at most %d may be", r.Seq, name, alive, most))
			}
		}
	})
	return broken, err
}

// alive counts the instances of a service that may run.
func alive(w *World, service string) int {
	n := 0
	for id, instance := range w.Instances {
		if instance.Service == service && !w.Statuses[id].Phase.Over() {
			n++
		}
	}
	return n
}

// Immutable checks I3 as far as the log shows it: what an instance, a revision or a config was made from
// never changes.
func Immutable(records []core.Record) ([]string, error) {
	var broken []string
	origins := map[string]string{} // "kind/id" → what must stay
	keep := func(r *core.Record, kind core.Kind, id, origin string) {
		key := string(kind) + "/" + id
		if before, ok := origins[key]; ok && before != origin {
			broken = append(broken, fmt.Sprintf("I3: record %d changes %s from %s to %s", r.Seq, key, before, origin))
		}
		origins[key] = origin
	}
	err := replay(records, func(w *World, r *core.Record) {
		for i := range r.Txn.Ops {
			op := &r.Txn.Ops[i]
			if op.Delete {
				continue
			}
			switch op.Kind {
			case core.KindInstance:
				v := w.Instances[op.ID]
				keep(r, op.Kind, op.ID, fmt.Sprint(v.Service, v.Revision, v.Node, v.Driver, v.Target, v.Created))
			case core.KindInstanceStatus:
				if v := w.Statuses[op.ID]; v.Fingerprint != "" {
					keep(r, op.Kind, op.ID, v.Fingerprint)
				}
			case core.KindRevision, core.KindConfig:
				keep(r, op.Kind, op.ID, string(op.Value))
			}
		}
	})
	return broken, err
}

// Ordered checks I7 as far as the log shows it: a route's generation grows with every change of its pools,
// and no data plane reports an older one than before.
func Ordered(records []core.Record) ([]string, error) {
	var broken []string
	routes, reports := map[string]core.Route{}, map[string]uint64{}
	err := replay(records, func(w *World, r *core.Record) {
		for i := range r.Txn.Ops {
			op := &r.Txn.Ops[i]
			switch {
			case op.Kind == core.KindRoute && !op.Delete:
				now, before := w.Routes[op.ID], routes[op.ID]
				changed := fmt.Sprint(now.Pools, now.Removed) != fmt.Sprint(before.Pools, before.Removed)
				if now.Generation < before.Generation || (changed && now.Generation == before.Generation) {
					broken = append(broken, fmt.Sprintf("I7: record %d writes route %s as generation %d after %d", r.Seq, op.ID, now.Generation, before.Generation))
				}
				routes[op.ID] = now
			case op.Kind == core.KindRouteStatus && !op.Delete:
				now := w.Reports[op.ID].Generation
				if now < reports[op.ID] {
					broken = append(broken, fmt.Sprintf("I7: record %d: %s went from generation %d back to %d", r.Seq, op.ID, reports[op.ID], now))
				}
				reports[op.ID] = now
			}
		}
	})
	return broken, err
}

// All runs every check that holds whatever happens to instances: all but Enough.
func All(records []core.Record) ([]string, error) {
	var broken []string
	for _, check := range []func([]core.Record) ([]string, error){Verified, Immutable, Drained, Ordered} {
		found, err := check(records)
		if err != nil {
			return nil, err
		}
		broken = append(broken, found...)
	}
	return broken, nil
}
