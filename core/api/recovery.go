package api

import (
	"context"
	"net/http"

	"github.com/danielgtaylor/huma/v2"

	"github.com/instarhq/instar/core"
	"github.com/instarhq/instar/core/recovery"
)

type approveInput struct {
	WriteInput
	Body core.ApproveRequest
}

func (s *server) registerRecovery(api huma.API) {
	huma.Register(api, op(http.MethodGet, "/v1/recovery", "show-recovery", "What runs after a restore, against what was restored"),
		func(ctx context.Context, _ *struct{}) (*output[core.RecoveryView], error) {
			v, err := recovery.Show(s.State.View())
			if err != nil {
				return nil, s.problem(ctx, err)
			}
			return &output[core.RecoveryView]{Body: v}, nil
		})
	huma.Register(api, op(http.MethodPost, "/v1/recovery/approve", "approve-recovery", "Let the restored cluster act"),
		func(ctx context.Context, in *approveInput) (*output[core.Receipt], error) {
			return receipt(ctx, s, func() (core.Receipt, error) {
				return recovery.Approve(ctx, s.State, s.meta(ctx, in.WriteInput, "recovery.approve"), in.Body, s.Now)
			})
		})
}
