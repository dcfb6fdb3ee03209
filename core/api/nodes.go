package api

import (
	"context"
	"net/http"

	"github.com/danielgtaylor/huma/v2"

	"github.com/instarhq/instar/core"
	"github.com/instarhq/instar/core/state"
)

type configInput struct {
	ID string `path:"id" maxLength:"255" doc:"name@sha256:…"`
	AtInput
}

func (s *server) registerNodes(api huma.API) {
	huma.Register(api, op(http.MethodGet, "/v1/nodes", "list-nodes", "Nodes with their targets"),
		func(_ context.Context, in *ListInput) (*pageOutput[core.Node], error) {
			v := s.State.View()
			return page(*in, v.Seq(), state.Nodes.All(v)), nil
		})
	huma.Register(api, op(http.MethodGet, "/v1/drivers", "list-drivers", "Published drivers with their targets"),
		func(_ context.Context, in *ListInput) (*pageOutput[core.DriverView], error) {
			v := s.State.View()
			every := func(core.Driver) bool { return true }
			return page(*in, v.Seq(), collected(state.Drivers.All(v), every, driverView(v))), nil
		})
	huma.Register(api, op(http.MethodGet, "/v1/configs/{id}", "show-config", "One config object"),
		func(ctx context.Context, in *configInput) (*output[core.Config], error) {
			return get(ctx, s, core.KindConfig, state.Configs, in.ID, in.At)
		})
}

func driverView(v *state.View) func(string, core.Driver) core.DriverView {
	return func(_ string, d core.Driver) core.DriverView {
		out := core.DriverView{Driver: d}
		node, ok := state.Nodes.Get(v, d.Node)
		if !ok {
			return out
		}
		for _, t := range node.Targets {
			if t.Kind == d.Kind && t.Driver == d.Name {
				out.Targets = append(out.Targets, core.NodeTarget{Node: d.Node, Target: t})
			}
		}
		return out
	}
}
