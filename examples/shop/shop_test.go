package main

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"io"
	"log/slog"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/coder/websocket"
)

// running is a shop that serves on a port of its own.
type running struct {
	address string
	stop    context.CancelFunc
	left    chan error
}

func start(t *testing.T, cfg Config) *running {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	identity := Identity{Version: "1.2", Revision: "7", Instance: "shop-abc"}
	shop := NewShop(cfg, identity, slog.New(slog.DiscardHandler))
	ctx, cancel := context.WithCancel(t.Context())
	r := &running{address: listener.Addr().String(), stop: cancel, left: make(chan error, 1)}
	go func() { r.left <- shop.Serve(ctx, listener) }()
	t.Cleanup(func() {
		cancel()
		select {
		case err := <-r.left:
			if err != nil {
				t.Errorf("the shop left with %v", err)
			}
		case <-time.After(15 * time.Second):
			t.Error("the shop did not leave")
		}
	})
	return r
}

func (r *running) request(t *testing.T, client *http.Client, method, path, body string) (*http.Response, string) {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), method, "http://"+r.address+path, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	res, err := client.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = res.Body.Close() }()
	data, err := io.ReadAll(res.Body)
	if err != nil {
		t.Fatal(err)
	}
	return res, string(data)
}

func newClient(t *testing.T) *http.Client {
	transport := &http.Transport{}
	t.Cleanup(transport.CloseIdleConnections)
	return &http.Client{Transport: transport, Timeout: 10 * time.Second}
}

func TestAnswers(t *testing.T) {
	t.Parallel()
	shop, client := start(t, Config{Banner: "Half <price>"}), newClient(t)
	for _, c := range []struct {
		method, path, body string
		status             int
		contains           string
	}{
		{"GET", "/", "", 200, "Half &lt;price&gt;"},
		{"GET", "/products/mug", "", 200, "Enamel mug"},
		{"GET", "/products/none", "", 404, "no such product"},
		{"GET", "/api/products", "", 200, `"cents":4900`},
		{"GET", "/api/identity", "", 200, `"revision":"7"`},
		{"GET", "/healthz", "", 200, "shop-abc"},
		{"GET", "/nowhere", "", 404, ""},
		{"POST", "/orders", "{", 400, "not understood"},
		{"POST", "/orders", `{"customer":"a","lines":[]}`, 422, "no lines"},
		{"POST", "/orders", `{"lines":[{"product":"mug","quantity":0}]}`, 422, "1 to 1000"},
		{"POST", "/orders", `{"lines":[{"product":"boat","quantity":1}]}`, 422, "boat"},
		{"POST", "/orders", strings.Repeat(" ", maxOrder+1), 400, "not received whole"},
	} {
		res, body := shop.request(t, client, c.method, c.path, c.body)
		if res.StatusCode != c.status || !strings.Contains(body, c.contains) {
			t.Errorf("%s %s: %d %q, want %d with %q", c.method, c.path, res.StatusCode, body, c.status, c.contains)
		}
		if got := res.Header.Get("Shop-Revision"); got != "7" {
			t.Errorf("%s %s: revision %q, want 7", c.method, c.path, got)
		}
	}
}

func TestOrderTellsWhatArrived(t *testing.T) {
	t.Parallel()
	shop := start(t, Config{})
	body := `{"customer":"Ada","lines":[{"product":"mug","quantity":2},{"product":"lamp","quantity":1}],"note":"` +
		strings.Repeat("x", 100_000) + `"}`
	res, answer := shop.request(t, newClient(t), "POST", "/orders", body)
	var placed Placed
	if err := json.Unmarshal([]byte(answer), &placed); err != nil {
		t.Fatal(err)
	}
	sum := sha256.Sum256([]byte(body))
	want := Placed{
		Identity: Identity{Version: "1.2", Revision: "7", Instance: "shop-abc"},
		Total:    2*1250 + 4900, Bytes: len(body), SHA256: hex.EncodeToString(sum[:]),
	}
	if res.StatusCode != http.StatusCreated || placed != want {
		t.Errorf("answer %d %+v, want 201 %+v", res.StatusCode, placed, want)
	}
}

func TestFaultsTouchHealthOnly(t *testing.T) {
	t.Parallel()
	for name, fault := range map[string]Fault{
		"never healthy": {NeverHealthy: true},
		"turned bad":    {UnhealthyAfter: Duration(time.Nanosecond)},
	} {
		t.Run(name, func(t *testing.T) {
			shop, client := start(t, Config{Fault: fault}), newClient(t)
			if res, _ := shop.request(t, client, "GET", "/healthz", ""); res.StatusCode != http.StatusServiceUnavailable {
				t.Errorf("healthz answers %d, want 503", res.StatusCode)
			}
			if res, _ := shop.request(t, client, "GET", "/api/products", ""); res.StatusCode != http.StatusOK {
				t.Errorf("products answer %d, want 200", res.StatusCode)
			}
		})
	}
}

func TestWebSocketEchoesAndSaysGoodbye(t *testing.T) {
	t.Parallel()
	shop := start(t, Config{})
	conn, res, err := websocket.Dial(t.Context(), "ws://"+shop.address+"/ws", nil)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = conn.CloseNow() }()
	if got := res.Header.Get("Shop-Revision"); got != "7" {
		t.Errorf("handshake has revision %q, want 7", got)
	}
	_, greeting, err := conn.Read(t.Context())
	if err != nil || !strings.Contains(string(greeting), `"revision":"7"`) {
		t.Fatalf("greeting %q, error %v", greeting, err)
	}
	if err := conn.Write(t.Context(), websocket.MessageBinary, []byte("hello")); err != nil {
		t.Fatal(err)
	}
	if kind, echo, err := conn.Read(t.Context()); err != nil || kind != websocket.MessageBinary || string(echo) != "hello" {
		t.Fatalf("echo %v %q, error %v", kind, echo, err)
	}
	shop.stop()
	if _, _, err := conn.Read(t.Context()); websocket.CloseStatus(err) != websocket.StatusGoingAway {
		t.Errorf("the session ended with %v, want status 1001", err)
	}
}

func TestLeavingServesUntilCustomersAreGone(t *testing.T) {
	t.Parallel()
	shop, client := start(t, Config{}), newClient(t)
	shop.request(t, client, "GET", "/", "") // leaves an idle connection
	shop.stop()
	deadline := time.Now().Add(5 * time.Second)
	for healthy := true; healthy; {
		res, _ := shop.request(t, newClient(t), "GET", "/healthz", "")
		if healthy = res.StatusCode == http.StatusOK; healthy && time.Now().After(deadline) {
			t.Fatal("still healthy 5 s after it was asked to go")
		}
	}
	res, _ := shop.request(t, client, "GET", "/api/products", "")
	if res.StatusCode != http.StatusOK || !res.Close {
		t.Errorf("on the kept connection: status %d, close %v; want 200 and the wish to close", res.StatusCode, res.Close)
	}
	shop.request(t, newClient(t), "GET", "/api/products", "") // new customers are served, too
	for {
		conn, err := net.Dial("tcp", shop.address)
		if err != nil {
			return
		}
		_ = conn.Close()
		if time.Now().After(deadline.Add(quiet)) {
			t.Fatal("still listening long after its last customer")
		}
	}
}

func TestLeavingWaitsForRequestsInFlight(t *testing.T) {
	t.Parallel()
	shop, client := start(t, Config{}), newClient(t)
	shop.request(t, client, "GET", "/", "") // the order goes over a connection that the shop has accepted
	body, writer := io.Pipe()
	answered := make(chan int, 1)
	go func() {
		req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, "http://"+shop.address+"/orders", body)
		if err != nil {
			answered <- -1
			return
		}
		res, err := client.Do(req)
		if err != nil {
			answered <- -1
			return
		}
		_ = res.Body.Close()
		answered <- res.StatusCode
	}()
	if _, err := io.WriteString(writer, `{"lines":[`); err != nil { // returns when the transport has taken it
		t.Fatal(err)
	}
	shop.stop()
	if _, err := io.WriteString(writer, `{"product":"mug","quantity":1}]}`); err != nil {
		t.Fatal(err)
	}
	_ = writer.Close()
	if status := <-answered; status != http.StatusCreated {
		t.Errorf("the order in flight was answered with %d, want 201", status)
	}
}
