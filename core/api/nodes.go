package api

import (
	"context"
	"iter"
	"maps"
	"net/http"
	"slices"

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
	huma.Register(api, op(http.MethodGet, "/v1/cluster/nodes", "list-cluster-nodes", "Nodes with their membership and liveness"),
		func(_ context.Context, in *ListInput) (*pageOutput[core.NodeView], error) {
			v := s.State.View()
			return page(*in, v.Seq(), s.nodeViews(v)), nil
		})
	huma.Register(api, op(http.MethodGet, "/v1/cluster/nodes/{node}", "show-cluster-node", "One node with its membership and liveness"),
		func(ctx context.Context, in *struct {
			Node string `path:"node" maxLength:"63"`
		},
		) (*output[core.NodeView], error) {
			for name, view := range s.nodeViews(s.State.View()) {
				if name == in.Node {
					return &output[core.NodeView]{Body: view}, nil
				}
			}
			return nil, s.problem(ctx, core.Errorf(core.CodeNotFound, "node %q does not exist", in.Node).WithObject(core.KindNode, in.Node))
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

// nodeViews gives every node that is a member, or has described itself, ordered by name.
func (s *server) nodeViews(v *state.View) iter.Seq2[string, core.NodeView] {
	views := map[string]core.NodeView{}
	for name, n := range state.Nodes.All(v) {
		views[name] = core.NodeView{Node: &n}
	}
	for name, m := range state.Members.All(v) {
		if _, there := views[name]; !there && m.State == core.MemberRemoved {
			continue
		}
		view := views[name]
		view.Member = &m
		views[name] = view
	}
	leader := s.Leader()
	return func(yield func(string, core.NodeView) bool) {
		for _, name := range slices.Sorted(maps.Keys(views)) {
			view := views[name]
			view.Name, view.Leader = name, name == leader
			if status, there := state.NodeStatuses.Get(v, name); there {
				view.Status = &status
			}
			for range state.Instances.By(v, state.ByNode, name) {
				view.Instances++
			}
			if !yield(name, view) {
				return
			}
		}
	}
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
