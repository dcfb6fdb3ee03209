package api

import (
	"context"
	"net/http"

	"github.com/danielgtaylor/huma/v2"

	"github.com/instarhq/instar/core/identity"
)

// registerProbes adds what load balancers and supervisors ask, as plain text: the status is the answer.
// Whoever is nobody gets no details.
func (s *server) registerProbes(api huma.API, waiting func() string) {
	huma.Register(api, op(http.MethodGet, "/livez", "livez", "Whether this process answers, as plain text"),
		func(context.Context, *struct{}) (*huma.StreamResponse, error) { return plain(http.StatusOK, "ok"), nil })
	huma.Register(api, op(http.MethodGet, "/readyz", "readyz", "Whether this node has caught up and a leader is known, as plain text"),
		func(ctx context.Context, _ *struct{}) (*huma.StreamResponse, error) {
			reason := waiting()
			switch {
			case reason == "":
				return plain(http.StatusOK, "ok"), nil
			case identity.CallerOf(ctx).Role == "":
				return plain(http.StatusServiceUnavailable, "not ready"), nil
			}
			return plain(http.StatusServiceUnavailable, "not ready: it waits for "+reason), nil
		})
}

// plain answers with a line of text.
func plain(status int, text string) *huma.StreamResponse {
	return &huma.StreamResponse{Body: func(ctx huma.Context) {
		ctx.SetHeader("Content-Type", "text/plain; charset=utf-8")
		ctx.SetHeader("Cache-Control", "no-store")
		ctx.SetStatus(status)
		_, _ = ctx.BodyWriter().Write([]byte(text + "\n")) // whoever asked is gone if this fails
	}}
}
