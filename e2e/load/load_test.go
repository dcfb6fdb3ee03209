package load

import (
	"errors"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"
)

func isFine(e Exchange) error {
	if string(e.Body) != "fine" {
		return errors.New("not fine")
	}
	return nil
}

// streamsFor are one stream of each HTTP kind.
func streamsFor(check func(Exchange) error) map[string]Stream {
	order := func(int) []byte { return []byte(strings.Repeat("order ", 5000)) }
	return map[string]Stream{
		"keep-alive": {Kind: KeepAlive, Rate: 400, Users: 4, Path: "/", Check: check},
		"fresh":      {Kind: Fresh, Rate: 400, Path: "/", Check: check},
		"http2":      {Kind: HTTP2, Rate: 400, Users: 2, Path: "/", Check: check},
		"post":       {Kind: Post, Rate: 400, Path: "/", Body: order, Check: check},
	}
}

func drained(next http.HandlerFunc) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body)
		next(w, r)
	}
}

func TestSoundServerHasNoFailures(t *testing.T) {
	for name, stream := range streamsFor(isFine) {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			began := time.Now()
			result := run(t, serve(t, drained(fine)), 100, stream)
			if result.Failed() != 0 {
				t.Errorf("failures at a sound server: %v", result.Failures(5))
			}
			if wrong := result.WrongRevision(NewTimeline(1, began)); len(wrong) != 0 {
				t.Errorf("wrong revisions at a sound server: %v", wrong)
			}
			if wrong := result.WrongRevision(NewTimeline(2, began)); len(wrong) != len(result.Records) {
				t.Errorf("%d of %d answers of revision 1 are wrong while 2 is active", len(wrong), len(result.Records))
			}
			if p := result.Percentile(0.99); p <= 0 || p > 5*time.Second {
				t.Errorf("p99 is %s", p)
			}
		})
	}
}

// Each way to misbehave is counted as what it is, whatever the kind of request, and nothing else is.
func TestEachFailureIsCounted(t *testing.T) {
	ways := map[Outcome]http.HandlerFunc{
		BadStatus: func(w http.ResponseWriter, _ *http.Request) { http.Error(w, "no", http.StatusBadGateway) },
		WrongBody: func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, "other") },
		Truncated: func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Length", "100")
			_, _ = io.WriteString(w, "short")
			_ = http.NewResponseController(w).Flush()
			panic(http.ErrAbortHandler)
		},
		TransportError: func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) },
	}
	for want, misbehave := range ways {
		for name, stream := range streamsFor(isFine) {
			t.Run(want.String()+"/"+name, func(t *testing.T) {
				t.Parallel()
				result := run(t, serve(t, drained(every(10, misbehave, fine))), 100, stream)
				got := outcomes(result)
				requests := len(result.Records)
				if n := requests / 10; got[want] < n-1 || got[want] > n+1 || got[OK]+got[want] != requests {
					t.Errorf("outcomes %v of %d requests, want about %d × %s: %v", got, requests, n, want, result.Failures(3))
				}
			})
		}
	}
}

// A connection that the server resets, or closes without an answer, is a failure that is not hidden by
// sending again.
func TestBrokenConnectionsAreNotRetried(t *testing.T) {
	for name, misbehave := range map[string]http.HandlerFunc{
		"reset":           func(w http.ResponseWriter, _ *http.Request) { cut(w, "", true) },
		"closed":          func(w http.ResponseWriter, _ *http.Request) { cut(w, "", false) },
		"half a header":   func(w http.ResponseWriter, _ *http.Request) { cut(w, "HTTP/1.1 200 OK\r\nRevi", false) },
		"not even HTTP":   func(w http.ResponseWriter, _ *http.Request) { cut(w, "SSH-2.0-OpenSSH_9\r\n", false) },
		"reset mid-write": func(w http.ResponseWriter, _ *http.Request) { cut(w, "HTTP/1.1 ", true) },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			result := run(t, serve(t, every(5, misbehave, fine)), 50, Stream{Kind: KeepAlive, Rate: 300, Users: 1, Path: "/"})
			got := outcomes(result)
			if got[TransportError] != len(result.Records)/5 {
				t.Errorf("%d of %d requests failed, want each fifth: %v", got[TransportError], len(result.Records), result.Failures(3))
			}
		})
	}
}

// A kept-alive connection that the server closes while it is idle costs nobody a request.
func TestIdleCloseIsNoFailure(t *testing.T) {
	handler := func(w http.ResponseWriter, _ *http.Request) {
		cut(w, "HTTP/1.1 200 OK\r\nRevision: 1\r\nContent-Length: 4\r\n\r\nfine", false)
	}
	result := run(t, serve(t, handler), 30, Stream{Kind: KeepAlive, Rate: 60, Users: 2, Path: "/", Check: isFine})
	if result.Failed() != 0 {
		t.Errorf("failures: %v", result.Failures(5))
	}
}

func TestNobodyListens(t *testing.T) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	target := listener.Addr().String()
	_ = listener.Close()
	streams := []Stream{{Kind: WebSocket, Rate: 100, Users: 2, Path: "/", Session: time.Second}}
	for _, s := range streamsFor(nil) {
		streams = append(streams, s)
	}
	result := run(t, target, 200, streams...)
	if got := outcomes(result); got[TransportError] != len(result.Records) {
		t.Errorf("outcomes %v, want transport errors only", got)
	}
	if result.Percentile(1) > time.Second {
		t.Errorf("refused connections took up to %s", result.Percentile(1))
	}
}

func TestSilentServerTimesOut(t *testing.T) {
	release := make(chan struct{})
	target := serve(t, func(http.ResponseWriter, *http.Request) { <-release })
	t.Cleanup(func() { close(release) }) // runs before the server is ended
	r, err := Start(t.Context(), Config{
		Target: target, Timeout: 200 * time.Millisecond, Streams: []Stream{{Kind: Fresh, Rate: 50, Path: "/"}},
	})
	if err != nil {
		t.Fatal(err)
	}
	await(t, func() bool { _, failed := r.Count(); return failed >= 5 })
	result := r.Stop()
	if got := outcomes(result); got[TransportError] != len(result.Records) {
		t.Errorf("outcomes %v of %d, want transport errors only", got, len(result.Records))
	}
}

// A stall is seen by all requests that were meant to be sent during it, not only by the one that was
// under way: latency counts from the intended start, also for a user with a single connection.
func TestStallIsNotOmitted(t *testing.T) {
	const stall = 500 * time.Millisecond
	handler := every(20, func(w http.ResponseWriter, r *http.Request) {
		<-time.After(stall)
		fine(w, r)
	}, fine)
	r, err := Start(t.Context(), Config{Target: serve(t, handler), Streams: []Stream{
		{Kind: KeepAlive, Rate: 100, Users: 1, Path: "/"},
	}})
	if err != nil {
		t.Fatal(err)
	}
	await(t, func() bool { n, _ := r.Count(); return n >= 39 })
	result := r.Stop()
	slow := 0
	for _, record := range result.Records {
		if record.Latency() > stall/10 {
			slow++
		}
	}
	if slow < 15 { // 50 were due during the stall; those of them that follow it in the run waited
		t.Errorf("%d requests were slow; one stall of %s at 100 requests a second must be seen by more", slow, stall)
	}
}

func TestPacingIsNotLatency(t *testing.T) {
	order := func(int) []byte { return []byte("twelve bytes") }
	const pace = 300 * time.Millisecond
	result := run(t, serve(t, drained(fine)), 10, Stream{Kind: Post, Rate: 50, Path: "/", Body: order, Pace: pace})
	if result.Failed() != 0 {
		t.Fatalf("failures: %v", result.Failures(5))
	}
	for _, record := range result.Records {
		if record.End-record.Begin < pace {
			t.Errorf("a body paced over %s was sent within %s", pace, record.End-record.Begin)
		}
	}
	if p50 := result.Percentile(0.5); p50 > pace/2 {
		t.Errorf("the median latency %s counts the sender's own pauses", p50)
	}
}

func TestRefusesToAimElsewhere(t *testing.T) {
	for _, target := range []string{"192.0.2.1:80", "[2001:db8::1]:80", "localhost:80", "example.org:80", "127.0.0.1", "0.0.0.0:80"} {
		if _, err := Start(t.Context(), Config{Target: target, Streams: []Stream{{Kind: Fresh, Rate: 1, Path: "/"}}}); err == nil {
			t.Errorf("target %s was accepted", target)
		}
	}
	if _, err := dialer(time.Second).DialContext(t.Context(), "tcp", "192.0.2.1:80"); err == nil || !strings.Contains(err.Error(), "loopback") {
		t.Errorf("the dialer went to 192.0.2.1: %v", err)
	}
}

func TestRefusesUnboundedOrSenselessStreams(t *testing.T) {
	for name, streams := range map[string][]Stream{
		"none":         nil,
		"too fast":     {{Kind: Fresh, Rate: MaxRate, Path: "/"}, {Kind: Fresh, Rate: 1, Path: "/"}},
		"no rate":      {{Kind: Fresh, Path: "/"}},
		"no users":     {{Kind: KeepAlive, Rate: 1, Path: "/"}},
		"no body":      {{Kind: Post, Rate: 1, Path: "/"}},
		"no session":   {{Kind: WebSocket, Rate: 1, Users: 1, Path: "/"}},
		"echo":         {{Kind: Echo, Rate: 1, Users: 1, Path: "/"}},
		"unknown kind": {{Rate: 1}},
	} {
		if _, err := Start(t.Context(), Config{Target: "127.0.0.1:1", Streams: streams}); err == nil {
			t.Errorf("%s: accepted", name)
		}
	}
}
