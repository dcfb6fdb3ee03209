package main

import (
	"encoding/json"
	"log/slog"
	"net/http"
	"sync"
	"sync/atomic"
	"time"
)

// healthPath is what the health checks ask for.
const healthPath = "/healthz"

// Shop is the web application.
type Shop struct {
	config   Config
	identity Identity
	log      *slog.Logger
	started  time.Time

	leaving     chan struct{}  // closed when the shop was asked to go
	gone        chan struct{}  // closed when it stops listening
	sessions    sync.WaitGroup // open WebSockets
	lastRequest atomic.Int64   // when a customer's last began, in Unix nanoseconds
}

// NewShop makes a shop that has just started.
func NewShop(config Config, identity Identity, log *slog.Logger) *Shop {
	return &Shop{
		config: config, identity: identity, log: log, started: time.Now(),
		leaving: make(chan struct{}), gone: make(chan struct{}),
	}
}

// Handler is everything that the shop answers.
func (s *Shop) Handler() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /{$}", s.home)
	mux.HandleFunc("GET /products/{id}", s.product)
	mux.HandleFunc("GET /api/products", func(w http.ResponseWriter, _ *http.Request) { s.json(w, http.StatusOK, catalog) })
	mux.HandleFunc("GET /api/identity", func(w http.ResponseWriter, _ *http.Request) { s.json(w, http.StatusOK, s.identity) })
	mux.HandleFunc("POST /orders", s.order)
	mux.HandleFunc("GET /ws", s.echo)
	mux.HandleFunc("GET "+healthPath, s.healthz)
	return s.signed(mux)
}

// signed puts the shop's identity on every answer, and asks the peer to leave when the shop does.
func (s *Shop) signed(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path != healthPath {
			s.lastRequest.Store(time.Now().UnixNano())
		}
		w.Header().Set("Shop-Version", s.identity.Version)
		w.Header().Set("Shop-Revision", s.identity.Revision)
		w.Header().Set("Shop-Instance", s.identity.Instance)
		if s.isLeaving() && r.Header.Get("Upgrade") == "" {
			w.Header().Set("Connection", "close")
		}
		next.ServeHTTP(w, r)
	})
}

// healthz answers whether the shop wants traffic.
func (s *Shop) healthz(w http.ResponseWriter, _ *http.Request) {
	after := time.Duration(s.config.Fault.UnhealthyAfter)
	switch {
	case s.config.Fault.NeverHealthy:
		http.Error(w, "never healthy, as configured", http.StatusServiceUnavailable)
	case after > 0 && time.Since(s.started) >= after:
		http.Error(w, "unhealthy after "+after.String()+", as configured", http.StatusServiceUnavailable)
	case s.isLeaving():
		http.Error(w, "going away", http.StatusServiceUnavailable)
	default:
		s.json(w, http.StatusOK, s.identity)
	}
}

func (s *Shop) json(w http.ResponseWriter, status int, v any) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	if err := json.NewEncoder(w).Encode(v); err != nil {
		s.log.Warn("answer not delivered", "error", err)
	}
}

func (s *Shop) isLeaving() bool {
	select {
	case <-s.leaving:
		return true
	default:
		return false
	}
}
