package load

import (
	"net/http"
	"testing"
	"time"

	"github.com/coder/websocket"
)

func users(session time.Duration) Stream {
	return Stream{Kind: WebSocket, Rate: 200, Users: 4, Path: "/", Session: session}
}

func TestWebSocketSessionsEndCleanly(t *testing.T) {
	result := run(t, serve(t, echoes(1<<30, nil)), 100, users(100*time.Millisecond))
	if result.Failed() != 0 || result.Lost != 0 || result.Moved != 0 {
		t.Errorf("lost %d, moved %d, failures %v", result.Lost, result.Moved, result.Failures(5))
	}
	if result.Sessions < 5 {
		t.Errorf("%d sessions; each user must have come back", result.Sessions)
	}
}

// Going away is a clean end: what was not echoed is sent again in a new session, and nothing failed.
func TestWebSocketServerGoesAway(t *testing.T) {
	goodbye := func(conn *websocket.Conn) { _ = conn.Close(websocket.StatusGoingAway, "") }
	for name, messages := range map[string]int{"after three echoes": 3, "at once": 0} {
		t.Run(name, func(t *testing.T) {
			handler := echoes(messages, goodbye)
			if messages == 0 {
				handler = every(2, handler, echoes(3, goodbye))
			}
			result := run(t, serve(t, handler), 60, users(time.Hour))
			if result.Failed() != 0 || result.Lost != 0 {
				t.Errorf("lost %d, failures %v", result.Lost, result.Failures(5))
			}
			if result.Moved < 5 {
				t.Errorf("%d sessions moved, want more", result.Moved)
			}
		})
	}
}

func TestWebSocketLossIsCounted(t *testing.T) {
	for name, end := range map[string]func(*websocket.Conn){
		"cut":            func(conn *websocket.Conn) { _ = conn.CloseNow() },
		"internal error": func(conn *websocket.Conn) { _ = conn.Close(websocket.StatusInternalError, "") },
		"wrong echo": func(conn *websocket.Conn) {
			if _, _, err := conn.Read(t.Context()); err == nil {
				_ = conn.Write(t.Context(), websocket.MessageText, []byte("something else"))
			}
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			result := run(t, serve(t, echoes(3, end)), 60, users(time.Hour))
			if result.Lost < 5 || result.Failed() < 5 {
				t.Errorf("lost %d sessions and %d requests, want at least 5 of each", result.Lost, result.Failed())
			}
			if result.Moved != 0 {
				t.Errorf("%d sessions count as moved", result.Moved)
			}
		})
	}
}

func TestWebSocketRefusedIsAFailure(t *testing.T) {
	refuse := func(w http.ResponseWriter, _ *http.Request) { http.Error(w, "no", http.StatusServiceUnavailable) }
	result := run(t, serve(t, refuse), 20, users(time.Hour))
	got := outcomes(result)
	if got[BadStatus] == 0 || got[OK] != 0 || result.Sessions != 0 {
		t.Errorf("outcomes %v with %d sessions, want bad status only", got, result.Sessions)
	}
}

// The handshake is judged by its revision, the echoes of a session that outlives a switch are not.
func TestWebSocketRevisionIsTheHandshakes(t *testing.T) {
	began := time.Now()
	result := run(t, serve(t, echoes(1<<30, nil)), 60, users(time.Hour))
	over := result.Start.Add(result.Records[len(result.Records)/2].Begin)
	timeline := NewTimeline(1, began).Switch(2, over, over)
	if wrong := result.WrongRevision(timeline); len(wrong) != 0 {
		t.Errorf("wrong: %v", wrong)
	}
	if wrong := result.WrongRevision(NewTimeline(2, began)); len(wrong) != result.Sessions {
		t.Errorf("%d wrong, want the %d handshakes", len(wrong), result.Sessions)
	}
}
