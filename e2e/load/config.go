package load

import (
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"syscall"
	"time"
)

// Bounds of a run.
const (
	MaxRate     = 5000             // arrivals per second, over all streams
	MaxDuration = 15 * time.Minute // of one run
	MaxRecords  = 2_000_000        // in one run
	maxInFlight = 2048             // requests under way per stream; one more is a failure, not a wait
)

// Kind says how a stream's requests travel.
type Kind uint8

// The kinds.
const (
	KeepAlive Kind = iota + 1 // users with one connection each and a think time
	Fresh                     // a new connection for each request
	HTTP2                     // HTTP/2 with prior knowledge, many requests on few connections
	Post                      // bodies that cannot be sent twice, streamed, a new connection each
	WebSocket                 // the opening handshake of a session
	Echo                      // one message and its echo on a WebSocket session
)

var kindNames = map[Kind]string{
	KeepAlive: "keep-alive", Fresh: "fresh", HTTP2: "http2", Post: "post", WebSocket: "websocket", Echo: "echo",
}

// String is the kind's name in reports.
func (k Kind) String() string { return kindNames[k] }

// MarshalText implements encoding.TextMarshaler.
func (k Kind) MarshalText() ([]byte, error) { return []byte(k.String()), nil }

// Exchange is what a check looks at.
type Exchange struct {
	Status int
	Header http.Header
	Sent   []byte // the request's body
	Body   []byte
}

// Stream is one constant flow of requests.
type Stream struct {
	Kind Kind    // any but Echo, which WebSocket makes
	Rate float64 // requests (WebSocket: echoes) per second, over all users
	// Users is the number of connections that the requests are spread over; only for KeepAlive, HTTP2
	// and WebSocket. Each KeepAlive or WebSocket user has a schedule of its own, with a think time of
	// Users/Rate.
	Users int
	Path  string
	// Body makes the n-th request's body, for Post. KeepAlive with a body makes POSTs on connections that
	// have been idle for a while.
	Body func(n int) []byte
	// Pace spreads the sending of a body over this time; it does not count as latency.
	Pace time.Duration
	// Session is how long a WebSocket user stays before it closes and comes back.
	Session time.Duration
	// Check judges a 2xx answer's content; nil accepts any.
	Check func(Exchange) error
}

// Config describes a run.
type Config struct {
	Target         string        // host:port, on the loopback interface
	Host           string        // Host header; empty: Target
	Timeout        time.Duration // for one request; 0: 10 s
	RevisionHeader string        // holds the answering revision's number; empty: not judged
	Streams        []Stream
}

func (c *Config) check() error {
	if err := loopback(c.Target); err != nil {
		return err
	}
	total := 0.0
	for i, s := range c.Streams {
		if err := s.check(); err != nil {
			return fmt.Errorf("stream %d (%s): %w", i, s.Kind, err)
		}
		total += s.Rate
	}
	if total == 0 || total > MaxRate {
		return fmt.Errorf("%g requests per second in all: the rate must be over 0 and at most %d", total, MaxRate)
	}
	return nil
}

func (s *Stream) check() error {
	switch {
	case s.Kind < KeepAlive || s.Kind > WebSocket:
		return fmt.Errorf("no such kind of stream")
	case s.Rate <= 0:
		return fmt.Errorf("rate %g is not positive", s.Rate)
	case s.Users < 1 && (s.Kind == KeepAlive || s.Kind == HTTP2 || s.Kind == WebSocket):
		return fmt.Errorf("needs at least one user")
	case s.Kind == Post && s.Body == nil:
		return fmt.Errorf("needs a body")
	case s.Kind == WebSocket && s.Session <= 0:
		return fmt.Errorf("needs a session length")
	}
	return nil
}

// loopback refuses any address that is not an IP address of the loopback interface; names are refused,
// too, as what they stand for can change.
func loopback(target string) error {
	address, err := netip.ParseAddrPort(target)
	if err != nil {
		return fmt.Errorf("target %q: want IP:port on the loopback interface: %w", target, err)
	}
	if !address.Addr().IsLoopback() {
		return fmt.Errorf("target %s is not on the loopback interface; this load is for tests on one machine", target)
	}
	return nil
}

// dialer refuses to connect to anything but loopback, whatever asked for it (a redirect, a proxy).
func dialer(timeout time.Duration) *net.Dialer {
	return &net.Dialer{Timeout: timeout, Control: func(_, address string, _ syscall.RawConn) error {
		return loopback(address)
	}}
}
