package health

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"os"
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/instarhq/instar/core"
)

const (
	// bodyLimit is how much of a body a probe reads, so that the instance sees its answer taken.
	bodyLimit = 64 << 10
	// answerLimit bounds headers and body of an answer together.
	answerLimit = 256 << 10
)

// Prober performs one probe; nil means that it passed. The error's text names what was asked and what
// came back, and stays the same while the cause does.
type Prober func(ctx context.Context) error

// NewProber makes the prober of a check. Every probe is a fresh connection: a kept one would go on
// working on an instance that accepts no new ones.
func NewProber(check core.HealthCheck, addresses map[string]string) (Prober, error) {
	address, ok := addresses[check.Port]
	if !ok {
		return nil, fmt.Errorf("the instance has no port %q to check", check.Port)
	}
	timeout := check.Timeout.Std()
	switch check.Type {
	case core.CheckTCP:
		return func(ctx context.Context) error { return probeTCP(ctx, address, timeout) }, nil
	case core.CheckHTTP:
		return newHTTPProber(check, address)
	}
	return nil, fmt.Errorf("health check %q is not known to this instard", check.Type)
}

func probeTCP(ctx context.Context, address string, timeout time.Duration) error {
	conn, err := (&net.Dialer{Timeout: timeout, KeepAlive: -1}).DialContext(ctx, "tcp", address)
	if err != nil {
		return fmt.Errorf("connect to %s: %w", address, cause(err, timeout))
	}
	return conn.Close()
}

// newHTTPProber speaks HTTP/1.1 on its own connection: net/http's client would cost three times the
// CPU for connection pools that a probe must not use.
func newHTTPProber(check core.HealthCheck, address string) (Prober, error) {
	path := check.Path
	if !strings.HasPrefix(path, "/") {
		path = "/" + path
	}
	target, err := url.Parse("http://" + address + path)
	if err != nil {
		return nil, fmt.Errorf("health check path %q: %w", check.Path, err)
	}
	header := http.Header{"User-Agent": {"instar-health"}}
	timeout := check.Timeout.Std()
	return func(ctx context.Context) error {
		req := &http.Request{Method: http.MethodGet, URL: target, Host: address, Header: header, Close: true}
		status, err := roundTrip(ctx, req, timeout)
		if err != nil {
			return fmt.Errorf("GET %s on %s: %w", path, address, cause(err, timeout))
		}
		if !accepted(check.Status, status) {
			return fmt.Errorf("GET %s on %s: %d %s", path, address, status, http.StatusText(status))
		}
		return nil
	}, nil
}

func roundTrip(ctx context.Context, req *http.Request, timeout time.Duration) (int, error) {
	deadline := time.Now().Add(timeout)
	conn, err := (&net.Dialer{Deadline: deadline, KeepAlive: -1}).DialContext(ctx, "tcp", req.URL.Host)
	if err != nil {
		return 0, err
	}
	defer func() { _ = conn.Close() }()
	if err := conn.SetDeadline(deadline); err != nil {
		return 0, err
	}
	defer context.AfterFunc(ctx, func() { _ = conn.SetDeadline(time.Unix(1, 0)) })()
	if err := req.Write(conn); err != nil {
		return 0, err
	}
	answer := bufio.NewReaderSize(io.LimitReader(conn, answerLimit), 1024)
	for {
		resp, err := http.ReadResponse(answer, req)
		if err != nil {
			return 0, err
		}
		_, err = io.CopyN(io.Discard, resp.Body, bodyLimit)
		_ = resp.Body.Close() // its only error is that of the connection, which is read from no more
		if err != nil && !errors.Is(err, io.EOF) {
			return 0, fmt.Errorf("read the answer: %w", err)
		}
		if resp.StatusCode >= 200 || resp.StatusCode == http.StatusSwitchingProtocols {
			return resp.StatusCode, nil // and else it was an interim answer
		}
	}
}

func accepted(want []int, status int) bool {
	if len(want) == 0 {
		return status >= 200 && status <= 399
	}
	return slices.Contains(want, status)
}

// cause strips what changes from probe to probe (the local port) from a network error.
func cause(err error, timeout time.Duration) error {
	var netErr net.Error
	if errors.Is(err, os.ErrDeadlineExceeded) || (errors.As(err, &netErr) && netErr.Timeout()) {
		return fmt.Errorf("no answer within %s", timeout)
	}
	if errors.Is(err, io.ErrUnexpectedEOF) || errors.Is(err, io.EOF) {
		return errors.New("the connection was closed before an answer came")
	}
	var errno syscall.Errno
	if errors.As(err, &errno) {
		return errno
	}
	var op *net.OpError
	if errors.As(err, &op) {
		return op.Err
	}
	return err
}
