package main

import (
	"context"
	"errors"
	"net"
	"net/http"
	"time"
)

const (
	// quiet is how long no customer's request must have come before the shop stops listening: closing
	// a listener or an idle connection at which a peer still sends loses what it is sending just then.
	quiet = time.Second
	// patience is how long leaving may take in all; under the 10 s that instar gives by default.
	patience = 8 * time.Second
)

// Serve answers until ctx ends, and then leaves without losing anything.
func (s *Shop) Serve(ctx context.Context, listener net.Listener) error {
	var protocols http.Protocols
	protocols.SetHTTP1(true)
	protocols.SetUnencryptedHTTP2(true)
	server := &http.Server{Handler: s.Handler(), Protocols: &protocols, ReadHeaderTimeout: 10 * time.Second}
	served := make(chan error, 1)
	go func() { served <- server.Serve(listener) }()
	select {
	case err := <-served:
		return err
	case <-ctx.Done():
	}
	return s.leave(server)
}

// leave ends in the order that loses nothing. First it is unhealthy and answers everything as before,
// so that whoever sends customers here can stop doing so; when they have, it stops listening, finishes
// what is in flight and tells the WebSockets.
func (s *Shop) leave(server *http.Server) error {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	s.log.Info("leaving: unhealthy from now on")
	close(s.leaving)
	s.waitQuiet(ctx)
	close(s.gone)
	s.log.Info("leaving: no longer listening")
	err := errors.Join(server.Shutdown(ctx), s.waitSessions(ctx))
	if err == nil {
		s.log.Info("left")
	}
	return err
}

func (s *Shop) waitQuiet(ctx context.Context) {
	s.lastRequest.Store(time.Now().UnixNano())
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for time.Since(time.Unix(0, s.lastRequest.Load())) < quiet {
		select {
		case <-tick.C:
		case <-ctx.Done():
			return
		}
	}
}

func (s *Shop) waitSessions(ctx context.Context) error {
	done := make(chan struct{})
	go func() {
		s.sessions.Wait()
		close(done)
	}()
	select {
	case <-done:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}
