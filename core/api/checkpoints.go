package api

import (
	"context"
	"net/http"

	"github.com/danielgtaylor/huma/v2"

	"github.com/instarhq/instar/core"
	"github.com/instarhq/instar/core/state"
)

// Checkpoints are the operator's verbs on points of the log.
type Checkpoints interface {
	CreateCheckpoint(ctx context.Context, meta core.Meta, name string, at core.Point) (core.Receipt, error)
	DeleteCheckpoint(ctx context.Context, meta core.Meta, name string) (core.Receipt, error)
	PlanReturn(ctx context.Context, to core.Point) (core.Return, error)
	Return(ctx context.Context, meta core.Meta, to core.Point, deleteNewer bool) (core.Return, error)
}

type createCheckpointInput struct {
	WriteInput
	Body struct {
		Name string     `json:"name" maxLength:"63"`
		At   core.Point `json:"at,omitzero" doc:"Which point; default: now"`
	}
}

type deleteCheckpointInput struct {
	WriteInput
	Name string `path:"name" maxLength:"63"`
}

type planReturnInput struct {
	Body struct {
		To core.Point `json:"to"`
	}
}

type returnInput struct {
	WriteInput
	Body struct {
		To          core.Point `json:"to"`
		DeleteNewer bool       `json:"delete_newer,omitempty" doc:"Delete services that did not exist then"`
	}
}

func (s *server) registerCheckpoints(api huma.API) {
	huma.Register(api, op(http.MethodGet, "/v1/checkpoints", "list-checkpoints", "Named points of the log"),
		func(_ context.Context, in *ListInput) (*pageOutput[core.Checkpoint], error) {
			v := s.State.View()
			return page(*in, v.Seq(), state.Checkpoints.All(v)), nil
		})
	huma.Register(api, op(http.MethodPost, "/v1/checkpoints", "create-checkpoint", "Give a point of the log a name"),
		func(ctx context.Context, in *createCheckpointInput) (*output[core.Receipt], error) {
			return receipt(ctx, s, func() (core.Receipt, error) {
				return s.Operations.CreateCheckpoint(ctx, s.meta(ctx, in.WriteInput, "checkpoint.create"), in.Body.Name, in.Body.At)
			})
		})
	huma.Register(api, op(http.MethodDelete, "/v1/checkpoints/{name}", "delete-checkpoint", "Forget a name; the log keeps what it pointed at"),
		func(ctx context.Context, in *deleteCheckpointInput) (*output[core.Receipt], error) {
			return receipt(ctx, s, func() (core.Receipt, error) {
				return s.Operations.DeleteCheckpoint(ctx, s.meta(ctx, in.WriteInput, "checkpoint.delete"), in.Name)
			})
		})
	huma.Register(api, op(http.MethodPost, "/v1/return/plan", "plan-return", "What going back to a point of the log would change"),
		func(ctx context.Context, in *planReturnInput) (*output[core.Return], error) {
			out, err := s.Operations.PlanReturn(ctx, in.Body.To)
			if err != nil {
				return nil, s.problem(ctx, err)
			}
			return &output[core.Return]{Body: out}, nil
		})
	huma.Register(api, op(http.MethodPost, "/v1/return", "return", "Make all services what they were at a point of the log"),
		func(ctx context.Context, in *returnInput) (*output[core.Return], error) {
			out, err := s.Operations.Return(ctx, s.meta(ctx, in.WriteInput, "checkpoint.restore"), in.Body.To, in.Body.DeleteNewer)
			if err != nil {
				return nil, s.problem(ctx, err)
			}
			return &output[core.Return]{Body: out}, nil
		})
}

// receipt answers a write that has nothing to say but that it was made.
func receipt(ctx context.Context, s *server, write func() (core.Receipt, error)) (*output[core.Receipt], error) {
	r, err := write()
	if err != nil {
		return nil, s.problem(ctx, err)
	}
	return &output[core.Receipt]{Body: r}, nil
}
