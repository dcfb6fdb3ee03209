package control

import (
	"slices"

	"github.com/instarhq/instar/core"
	"github.com/instarhq/instar/core/spec"
	"github.com/instarhq/instar/core/state"
)

// checkSet refuses a set whose services would get in the way of each other or of others that are there.
func checkSet(r state.Reader, set core.Set, plan *core.Plan) error {
	for i := range set.Services {
		d := &set.Services[i]
		if plan.Services[i].Action == core.ActionNone {
			continue
		}
		if err := checkLevel(r, d.Name, &d.Spec); err != nil {
			return err
		}
		if err := checkSize(d.Name, d.Count, &d.Spec); err != nil {
			return err
		}
		if err := checkRoutes(r, d.Name, &d.Spec, set.Services...); err != nil {
			return err
		}
	}
	return nil
}

// owned is a route with the service that has it, and why that is so.
type owned struct {
	service string
	spec    *core.RouteSpec
}

// checkRoutes refuses routes of a service that another service has, or that cannot be in effect beside
// those of another one. declared are the other services of the same set: what they declare counts in
// place of what is wanted of them now.
func checkRoutes(r state.Reader, service string, s *core.Spec, declared ...core.Declared) error {
	if s == nil || len(s.Routes) == 0 {
		return nil
	}
	others := routesOfOthers(r, service, declared)
	for i := range s.Routes {
		mine := &s.Routes[i]
		if stored, ok := state.Routes.Get(r, mine.Name); ok && stored.Service == service {
			if stored.Spec.Driver != mine.Driver || stored.Spec.Target != mine.Target {
				return routeConflict(mine, "route %q of service %q cannot move from traffic driver %s to %s",
					mine.Name, service, driverText(&stored.Spec), driverText(mine)).WithHint("declare it under another name")
			}
		}
		for _, o := range others {
			if o.spec.Name == mine.Name {
				return routeConflict(mine, "route %q of service %q: service %q has a route of this name", mine.Name, service, o.service).
					WithHint("names of routes are unique in the cluster: choose another one")
			}
			if why := spec.RouteConflict(mine, o.spec); why != "" {
				return routeConflict(mine, "route %q of service %q and route %q of service %q: %s", mine.Name, service, o.spec.Name, o.service, why).
					WithHint("change one of them, or delete the service that has the other")
			}
		}
	}
	return nil
}

func routeConflict(route *core.RouteSpec, format string, args ...any) *core.Error {
	return core.Errorf(core.CodeConflict, format, args...).WithObject(core.KindRoute, route.Name)
}

func driverText(s *core.RouteSpec) string {
	if s.Target == "" {
		return s.Driver
	}
	return s.Driver + "/" + s.Target
}

// routesOfOthers are the routes that other services have in the store or are about to have.
func routesOfOthers(r state.Reader, service string, declared []core.Declared) []owned {
	var out []owned
	inSet := map[string]bool{}
	for i := range declared {
		d := &declared[i]
		if d.Name == service {
			continue
		}
		inSet[d.Name] = true
		for j := range d.Spec.Routes {
			out = append(out, owned{d.Name, &d.Spec.Routes[j]})
		}
	}
	for name, svc := range state.Services.All(r) {
		if name == service || svc.Deleting {
			continue
		}
		for _, revision := range revisionsInUse(r, &svc, inSet[name]) {
			rev, _ := state.Revisions.Get(r, core.RevisionID(name, revision))
			for j := range rev.Spec.Routes {
				out = append(out, owned{name, &rev.Spec.Routes[j]})
			}
		}
	}
	for _, route := range state.Routes.All(r) {
		if route.Service != service {
			out = append(out, owned{route.Service, &route.Spec})
		}
	}
	return out
}

// revisionsInUse are the revisions of a service whose routes are in effect or may be again without
// anybody's asking: those that a rollout may go back to count. replaced: another revision than the one
// that is wanted now is about to be.
func revisionsInUse(r state.Reader, svc *core.Service, replaced bool) []int {
	used := []int{svc.Active}
	if !replaced {
		used = append(used, svc.Revision)
	}
	if newest, ok := state.Rollouts.Get(r, core.RolloutID(svc.Name, svc.Rollouts)); ok && !newest.Phase.Over() {
		used = append(used, newest.From)
	}
	slices.Sort(used)
	return slices.Compact(used)
}

// endpointBytes is about what an endpoint takes in a route beside its instance's id.
const endpointBytes = 64

// checkSize refuses more instances than a route can list: it is one object, and has those of two
// revisions while one replaces the other.
func checkSize(service string, count int, s *core.Spec) error {
	if len(s.Routes) == 0 {
		return nil
	}
	each := 2 * (len(service) + 9 + endpointBytes)
	most := min(core.MaxValueBytes, maxBytes/len(s.Routes)) / each
	if count <= most {
		return nil
	}
	return core.Errorf(core.CodeTooLarge, "service %q with %d instances: its routes cannot list more than %d", service, count, most).
		WithObject(core.KindService, service).WithHint("use larger instances, or several services")
}
