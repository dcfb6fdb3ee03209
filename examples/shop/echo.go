package main

import (
	"context"
	"encoding/json"
	"net/http"
	"time"

	"github.com/coder/websocket"
)

// echoIdle is how long a WebSocket may be silent.
const echoIdle = 2 * time.Minute

// echo greets a WebSocket peer with the shop's identity and then sends every message back. When the
// shop goes away it says so with status 1001.
func (s *Shop) echo(w http.ResponseWriter, r *http.Request) {
	s.sessions.Add(1) // before the upgrade, while the server itself still waits for this handler
	defer s.sessions.Done()
	conn, err := websocket.Accept(w, r, nil)
	if err != nil {
		return // Accept has answered
	}
	defer func() { _ = conn.CloseNow() }()
	// A reader blocks until its context ends, which would cut the connection; so the close with 1001
	// comes from beside, while the reader goes on and sees the peer's answer to it.
	ended := make(chan struct{})
	defer close(ended)
	go func() {
		select {
		case <-s.gone:
			_ = conn.Close(websocket.StatusGoingAway, "going away")
		case <-ended:
		}
	}()
	if err := s.converse(r.Context(), conn); websocket.CloseStatus(err) == -1 {
		s.log.Debug("websocket ended", "error", err)
	}
}

// converse ends with the reason for which the session ended.
func (s *Shop) converse(ctx context.Context, conn *websocket.Conn) error {
	greeting, err := json.Marshal(s.identity)
	if err != nil {
		return err
	}
	if err := conn.Write(ctx, websocket.MessageText, greeting); err != nil {
		return err
	}
	for {
		kind, data, err := s.receive(ctx, conn)
		if err != nil {
			return err
		}
		if err := conn.Write(ctx, kind, data); err != nil {
			return err
		}
	}
}

func (s *Shop) receive(ctx context.Context, conn *websocket.Conn) (websocket.MessageType, []byte, error) {
	ctx, cancel := context.WithTimeout(ctx, echoIdle)
	defer cancel()
	return conn.Read(ctx)
}
