package telemetry

import (
	"github.com/instarhq/instar/core"
	"github.com/instarhq/instar/core/state"
)

var (
	routeGeneration = gauge("instar_route_generation", "Generation of a route's wanted state. It only grows. From the leader only.", "route", "service")
	routeEndpoints  = gauge("instar_route_endpoints", "Instances that a route sends new requests to. From the leader only.", "route", "service")
	routeTargets    = gauge("instar_route_targets", "Healthy traffic targets that are to carry a route. From the leader only.", "route", "service")
	routeLagging    = gauge("instar_route_targets_lagging", "Of these, the ones that have not confirmed the route's present generation. From the leader only.", "route", "service")
	routeErrors     = gauge("instar_route_error_ratio", "The highest share of failed answers that a target has reported of a revision behind a route; reported when it crosses max_error_rate. From the leader only.", "route", "service")
)

// routes puts the routes, and how far the targets are that carry them.
func (o out) routes(view *state.View) {
	targets := map[string][]core.NodeTarget{} // by driver
	for name, node := range state.Nodes.All(view) {
		for _, t := range node.Targets {
			if t.Kind == core.DriverTraffic && t.Healthy {
				targets[t.Driver] = append(targets[t.Driver], core.NodeTarget{Node: name, Target: t})
			}
		}
	}
	for name, route := range state.Routes.All(view) {
		endpoints := 0
		for i := range route.Pools {
			if route.Pools[i].Weight > 0 {
				endpoints += len(route.Pools[i].Endpoints)
			}
		}
		carriers, lagging, errors := 0, 0, 0.0
		for _, t := range targets[route.Spec.Driver] {
			if route.Spec.Target != "" && route.Spec.Target != t.Target.Name || unreachable(view, t.Node) {
				continue
			}
			carriers++
			status, there := state.RouteStatuses.Get(view, core.RouteStatusID(name, t.Node, t.Target.Name))
			if !there || status.Generation < route.Generation {
				lagging++
			}
			for _, share := range status.ErrorRate {
				errors = max(errors, share)
			}
		}
		o.put(routeGeneration, float64(route.Generation), name, route.Service)
		o.put(routeEndpoints, float64(endpoints), name, route.Service)
		o.put(routeTargets, float64(carriers), name, route.Service)
		o.put(routeLagging, float64(lagging), name, route.Service)
		o.put(routeErrors, errors, name, route.Service)
	}
}

// unreachable reports whether nobody waits for a node's targets.
func unreachable(view *state.View, node string) bool {
	status, there := state.NodeStatuses.Get(view, node)
	return there && status.State != core.NodeReady
}
