package api

import (
	"context"
	"net/http"

	"github.com/danielgtaylor/huma/v2"

	"github.com/instarhq/instar/core"
)

func (s *server) registerDebug(api huma.API) {
	huma.Register(api, op(http.MethodGet, "/v1/debug", "debug", "This node's diagnostics without secrets, as a gzipped tar"),
		func(ctx context.Context, _ *struct{}) (*huma.StreamResponse, error) {
			if s.Debug == nil {
				return nil, s.problem(ctx, core.Errorf(core.CodeUnsupported, "this API has no diagnostics"))
			}
			return &huma.StreamResponse{Body: func(hctx huma.Context) {
				hctx.SetHeader("Content-Type", "application/gzip")
				hctx.SetStatus(http.StatusOK)
				if err := s.Debug(hctx.Context(), hctx.BodyWriter()); err != nil {
					s.log.Warn("a diagnostics bundle is not complete", "error", err)
					panic(http.ErrAbortHandler) // the client sees that it broke off
				}
			}}, nil
		})
}
