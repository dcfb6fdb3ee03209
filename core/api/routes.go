package api

import (
	"context"
	"net/http"

	"github.com/danielgtaylor/huma/v2"

	"github.com/instarhq/instar/core"
	"github.com/instarhq/instar/core/state"
)

type listRoutesInput struct {
	ListInput
	Service string `query:"service" maxLength:"63"`
}

func (s *server) registerRoutes(api huma.API) {
	huma.Register(api, op(http.MethodGet, "/v1/routes", "list-routes", "Routes with what the data planes have in effect"),
		func(_ context.Context, in *listRoutesInput) (*pageOutput[core.RouteView], error) {
			v := s.State.View()
			keep := func(r core.Route) bool { return in.Service == "" || r.Service == in.Service }
			return page(in.ListInput, v.Seq(), collected(state.Routes.All(v), keep, routeView(v))), nil
		})
	huma.Register(api, op(http.MethodGet, "/v1/routes/{route}", "show-route", "One route"),
		func(ctx context.Context, in *struct {
			Route string `path:"route" maxLength:"255"`
			AtInput
		},
		) (*output[core.RouteView], error) {
			route, err := get(ctx, s, core.KindRoute, state.Routes, in.Route, in.At)
			if err != nil {
				return nil, err
			}
			if in.At != 0 {
				return &output[core.RouteView]{Body: core.RouteView{Route: route.Body}}, nil
			}
			return &output[core.RouteView]{Body: routeView(s.State.View())(in.Route, route.Body)}, nil
		})
}

func routeView(v *state.View) func(string, core.Route) core.RouteView {
	return func(name string, r core.Route) core.RouteView {
		out := core.RouteView{Route: r}
		for _, status := range state.RouteStatuses.By(v, state.ByParent, name) {
			out.Statuses = append(out.Statuses, status)
		}
		return out
	}
}
