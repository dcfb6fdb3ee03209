package api

import (
	"context"
	"net/http"

	"github.com/danielgtaylor/huma/v2"

	"github.com/instarhq/instar/core"
	"github.com/instarhq/instar/core/state"
)

// RolloutInput names a rollout.
type RolloutInput struct {
	Service string `path:"service" maxLength:"63"`
	Number  int    `path:"number" minimum:"1"`
}

type listRolloutsInput struct {
	ListInput
	Service string `query:"service" maxLength:"63"`
	Active  bool   `query:"active" doc:"Only those that are not over"`
}

type abortInput struct {
	WriteInput
	RolloutInput
}

func (s *server) registerRollouts(api huma.API) {
	huma.Register(api, op(http.MethodGet, "/v1/rollouts", "list-rollouts", "Rollouts, ordered by id"), s.listRollouts)
	huma.Register(api, op(http.MethodGet, "/v1/rollouts/{service}/{number}", "show-rollout", "One rollout with its progress"), s.showRollout)
	huma.Register(api, op(http.MethodPost, "/v1/rollouts/{service}/{number}/abort", "abort-rollout", "End a rollout; traffic goes, or stays, where it was before"),
		func(ctx context.Context, in *abortInput) (*applied, error) {
			a, err := s.Operations.Abort(ctx, s.meta(ctx, in.WriteInput, "rollout.abort"), core.RolloutID(in.Service, in.Number))
			return s.applied(ctx, a, err)
		})
}

func (s *server) listRollouts(_ context.Context, in *listRolloutsInput) (*pageOutput[core.RolloutView], error) {
	v := s.State.View()
	all := state.Rollouts.All(v)
	if in.Service != "" {
		all = state.Rollouts.By(v, state.ByService, in.Service)
	}
	keep := func(r core.Rollout) bool { return !in.Active || !r.Phase.Over() }
	view := func(_ string, r core.Rollout) core.RolloutView { return s.rolloutView(v, r) }
	return page(in.ListInput, v.Seq(), collected(all, keep, view)), nil
}

func (s *server) showRollout(ctx context.Context, in *struct {
	RolloutInput
	AtInput
},
) (*output[core.RolloutView], error) {
	id := core.RolloutID(in.Service, in.Number)
	stored, err := get(ctx, s, core.KindRollout, state.Rollouts, id, in.At)
	if err != nil {
		return nil, err
	}
	if in.At != 0 {
		return &output[core.RolloutView]{Body: core.RolloutView{Rollout: stored.Body}}, nil
	}
	return &output[core.RolloutView]{Body: s.rolloutView(s.State.View(), stored.Body)}, nil
}
