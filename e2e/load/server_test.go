package load

import (
	"io"
	"net"
	"net/http"
	"sync/atomic"
	"testing"
	"time"

	"github.com/coder/websocket"
)

// serve runs handler for HTTP/1.1 and HTTP/2 on a port of its own.
func serve(t *testing.T, handler http.HandlerFunc) string {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	var protocols http.Protocols
	protocols.SetHTTP1(true)
	protocols.SetUnencryptedHTTP2(true)
	server := &http.Server{Handler: handler, Protocols: &protocols, ReadHeaderTimeout: time.Minute}
	done := make(chan struct{})
	go func() {
		defer close(done)
		_ = server.Serve(listener)
	}()
	t.Cleanup(func() {
		_ = server.Close()
		<-done
	})
	return listener.Addr().String()
}

// cut takes the connection over, writes raw bytes to it and breaks it; with a reset if reset is set.
func cut(w http.ResponseWriter, raw string, reset bool) {
	conn, _, err := http.NewResponseController(w).Hijack()
	if err != nil {
		panic(err)
	}
	_, _ = io.WriteString(conn, raw)
	if tcp, ok := conn.(*net.TCPConn); ok && reset {
		_ = tcp.SetLinger(0)
	}
	_ = conn.Close()
}

// every returns a handler that lets misbehave answer each n-th request and ok the others.
func every(n int64, misbehave, ok http.HandlerFunc) http.HandlerFunc {
	var count atomic.Int64
	return func(w http.ResponseWriter, r *http.Request) {
		if count.Add(1)%n == 0 {
			misbehave(w, r)
			return
		}
		ok(w, r)
	}
}

func fine(w http.ResponseWriter, _ *http.Request) {
	w.Header().Set("Revision", "1")
	_, _ = io.WriteString(w, "fine")
}

// echoes returns a WebSocket handler that echoes the given number of messages and then ends the session.
func echoes(n int, end func(*websocket.Conn)) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Revision", "1")
		conn, err := websocket.Accept(w, r, nil)
		if err != nil {
			return
		}
		defer func() { _ = conn.CloseNow() }()
		if conn.Write(r.Context(), websocket.MessageText, []byte("hello")) != nil {
			return
		}
		for range n {
			kind, data, err := conn.Read(r.Context())
			if err != nil || conn.Write(r.Context(), kind, data) != nil {
				return
			}
		}
		end(conn)
	}
}

// run sends the streams until at least n requests have ended.
func run(t *testing.T, target string, n int, streams ...Stream) *Result {
	t.Helper()
	r, err := Start(t.Context(), Config{
		Target: target, RevisionHeader: "Revision", Timeout: 2 * time.Second, Streams: streams,
	})
	if err != nil {
		t.Fatal(err)
	}
	await(t, func() bool { got, _ := r.Count(); return got >= n })
	return r.Stop()
}

// await polls until the condition holds.
func await(t *testing.T, condition func() bool) {
	t.Helper()
	deadline := time.Now().Add(20 * time.Second)
	for !condition() {
		if time.Now().After(deadline) {
			t.Fatal("did not happen within 20 s")
		}
		<-time.After(5 * time.Millisecond)
	}
}

func outcomes(r *Result) map[Outcome]int {
	counts := map[Outcome]int{}
	for _, record := range r.Records {
		counts[record.Outcome]++
	}
	return counts
}
