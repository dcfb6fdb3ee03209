package agent

import (
	"slices"

	"github.com/instarhq/instar/core"
	"github.com/instarhq/instar/core/state"
	"github.com/instarhq/instar/sdk"
)

// quietOf lists the instances of the route's service that are on their way out, cannot be reached
// through the route any more and have nothing in flight, sorted; busy says that others are not there
// yet. seen is nil if the data plane has nothing of the route.
func quietOf(view *state.View, route *core.Route, seen *sdk.Observation) (quiet []string, busy bool) {
	there := map[string]bool{}
	if seen != nil {
		for i := range seen.Pools {
			for j := range seen.Pools[i].Endpoints {
				there[seen.Pools[i].Endpoints[j].ID] = true
			}
		}
		for i := range seen.Draining {
			there[seen.Draining[i].ID] = true
		}
	}
	for id, inst := range state.Instances.By(view, state.ByService, route.Service) {
		switch {
		case inst.Desired == core.DesiredRun:
		case !there[id]:
			quiet = append(quiet, id)
		default:
			busy = true
		}
	}
	return quiet, busy // By yields in the order of ids
}

// containsAll reports whether sorted holds every element of wanted.
func containsAll(sorted, wanted []string) bool {
	for _, id := range wanted {
		if _, ok := slices.BinarySearch(sorted, id); !ok {
			return false
		}
	}
	return true
}

// minAnswers is how many answers a share of failed ones needs to mean anything.
const minAnswers = 20

// watchedRates gives the error-rate limit of the revision that the service's rollout is baking, by
// revision; empty if none is watched now.
func watchedRates(view *state.View, route *core.Route) map[int]float64 {
	service, ok := state.Services.Get(view, route.Service)
	if !ok {
		return nil
	}
	rollout, ok := state.Rollouts.Get(view, core.RolloutID(service.Name, service.Rollouts))
	if !ok || (rollout.Phase != core.RolloutSwitching && rollout.Phase != core.RolloutBaking) {
		return nil
	}
	revision, ok := state.Revisions.Get(view, core.RevisionID(service.Name, rollout.To))
	if !ok || revision.Spec.Rollout.MaxErrorRate <= 0 {
		return nil
	}
	for i := range route.Pools {
		if route.Pools[i].Revision == rollout.To {
			return map[int]float64{rollout.To: revision.Spec.Rollout.MaxErrorRate}
		}
	}
	return nil
}

// rates brings the reported error rates up to date: a rate is reported when it goes over its limit or
// comes back, so that a bake costs no record as long as nothing happens, and taken back when its pool
// has left the route.
func rates(reported, limits map[int]float64, route *core.Route, seen *sdk.Observation) map[int]float64 {
	var out map[int]float64
	for i := range route.Pools {
		if rate, ok := reported[route.Pools[i].Revision]; ok {
			out = withRate(out, route.Pools[i].Revision, rate)
		}
	}
	for revision, limit := range limits {
		rate, ok := errorRate(seen, revision)
		if !ok || (rate > limit) == (out[revision] > limit) {
			continue
		}
		out = withRate(out, revision, rate)
	}
	return out
}

func withRate(rates map[int]float64, revision int, rate float64) map[int]float64 {
	if rates == nil {
		rates = map[int]float64{}
	}
	rates[revision] = rate
	return rates
}

// errorRate is the share of a pool's answers that failed, if there were enough of them.
func errorRate(seen *sdk.Observation, revision int) (float64, bool) {
	if seen == nil {
		return 0, false
	}
	var requests, failed uint64
	for i := range seen.Pools {
		if seen.Pools[i].Revision != revision {
			continue
		}
		for j := range seen.Pools[i].Endpoints {
			requests += seen.Pools[i].Endpoints[j].Requests
			failed += seen.Pools[i].Endpoints[j].Errors
		}
	}
	if requests < minAnswers {
		return 0, false
	}
	return float64(failed) / float64(requests), true
}
