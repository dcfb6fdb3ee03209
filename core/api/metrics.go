package api

import (
	"context"
	"net/http"
	"time"

	"github.com/danielgtaylor/huma/v2"
	"github.com/danielgtaylor/huma/v2/adapters/humago"

	"github.com/instarhq/instar/core"
)

// Observer is told of every request that was answered. It has to return at once.
type Observer interface {
	// Request: operation is an id of the OpenAPI document, or "unknown"; stream: it lasted for as long as the
	// client listened.
	Request(operation string, status int, took time.Duration, stream bool)
}

// streams are the operations that last for as long as the client listens, or as there is something to send.
var streams = map[string]bool{
	"watch": true, "events": true, "instance-logs": true, "download-snapshot": true, "export": true, "debug": true, "restore": true,
}

func (s *server) registerMetrics(api huma.API) {
	huma.Register(api, op(http.MethodGet, "/metrics", "metrics", "Metrics of this node in Prometheus' formats"),
		func(ctx context.Context, _ *struct{}) (*huma.StreamResponse, error) {
			if s.Metrics == nil {
				return nil, s.problem(ctx, core.Errorf(core.CodeUnsupported, "this API has no metrics"))
			}
			return &huma.StreamResponse{Body: func(hctx huma.Context) {
				r, w := humago.Unwrap(hctx)
				s.Metrics.ServeHTTP(w, r)
			}}, nil
		})
}

// observed wraps an answer so that the observer is told about it when end is called.
func (s *server) observed(w http.ResponseWriter, operation string) (wrapped http.ResponseWriter, end func()) {
	if s.Observer == nil {
		return w, func() {}
	}
	seen := &seenWriter{ResponseWriter: w, status: http.StatusOK}
	began := time.Now()
	return seen, func() { s.Observer.Request(operation, seen.status, time.Since(began), streams[operation]) }
}

// seenWriter notes the status of an answer.
type seenWriter struct {
	http.ResponseWriter
	status int
	sent   bool
}

// WriteHeader implements http.ResponseWriter.
func (w *seenWriter) WriteHeader(status int) {
	if !w.sent && status >= http.StatusOK {
		w.status, w.sent = status, true
	}
	w.ResponseWriter.WriteHeader(status)
}

// Write implements http.ResponseWriter.
func (w *seenWriter) Write(data []byte) (int, error) {
	w.sent = true
	return w.ResponseWriter.Write(data)
}

// Flush implements http.Flusher. What cannot be flushed has been sent.
func (w *seenWriter) Flush() { _ = http.NewResponseController(w.ResponseWriter).Flush() }

// Unwrap is for http.ResponseController.
func (w *seenWriter) Unwrap() http.ResponseWriter { return w.ResponseWriter }
