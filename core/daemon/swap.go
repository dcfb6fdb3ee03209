package daemon

import (
	"net/http"
	"sync/atomic"
)

// swap is a handler that can be replaced while it serves.
type swap struct{ handler atomic.Pointer[http.Handler] }

func (s *swap) set(h http.Handler) { s.handler.Store(&h) }

// ServeHTTP implements http.Handler.
func (s *swap) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	handler := s.handler.Load()
	if handler == nil {
		http.Error(w, "not ready", http.StatusServiceUnavailable)
		return
	}
	(*handler).ServeHTTP(w, r)
}
