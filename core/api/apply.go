package api

import (
	"context"
	"net/http"

	"github.com/danielgtaylor/huma/v2"

	"github.com/instarhq/instar/core"
)

type planInput struct {
	Body struct {
		Set core.Set `json:"set"`
	}
}

type applyInput struct {
	WriteInput
	Body struct {
		Set core.Set `json:"set"`
		// Expect maps a service to the Seq that its plan was made against.
		Expect map[string]uint64 `json:"expect,omitempty" doc:"Refuse with conflict if a named service is no longer at this seq"`
	}
}

func (s *server) registerApply(api huma.API) {
	huma.Register(api, op(http.MethodPost, "/v1/plan", "plan", "What applying a set would change"),
		func(ctx context.Context, in *planInput) (*output[core.Plan], error) {
			plan, err := s.Operations.Plan(ctx, in.Body.Set)
			if err != nil {
				return nil, s.problem(ctx, err)
			}
			return &output[core.Plan]{Body: plan}, nil
		})
	huma.Register(api, op(http.MethodPost, "/v1/apply", "apply", "Declare services; each change begins a rollout"),
		func(ctx context.Context, in *applyInput) (*applied, error) {
			a, err := s.Operations.Apply(ctx, s.meta(ctx, in.WriteInput, "service.apply"), in.Body.Set, in.Body.Expect)
			return s.applied(ctx, a, err)
		})
}
