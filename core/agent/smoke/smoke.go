// Package smoke asks a revision that has no traffic yet whether it works: one request through the
// route's own listener, which the preview header takes to the new revision.
package smoke

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/instarhq/instar/core"
	"github.com/instarhq/instar/sdk"
)

const (
	attempts     = 3           // a failure is final after so many
	retryAfter   = time.Second // between attempts
	bodyLimit    = 1 << 20     // of the body that is searched for Contains
	excerptBytes = 200         // of a body that a failure shows
)

// Check is one smoke check with the route that it goes through.
type Check struct {
	core.SmokeCheck
	Route    core.RouteSpec
	Revision int
}

// Run performs the check. Its error is final: it says what was asked and what came back.
func Run(ctx context.Context, c *Check) error { return run(ctx, c, retryAfter) }

func run(ctx context.Context, c *Check, pause time.Duration) error {
	if c.Route.Protocol == core.ProtocolTCP {
		return fmt.Errorf("route %q speaks TCP: smoke checks need an HTTP route", c.Route.Name)
	}
	for attempt := 1; ; attempt++ {
		err := once(ctx, c)
		if err == nil || attempt == attempts {
			return err
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(pause):
		}
	}
}

func once(ctx context.Context, c *Check) error {
	address, err := Address(c.Route.Listen)
	if err != nil {
		return err
	}
	if c.Timeout > 0 {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, c.Timeout.Std())
		defer cancel()
	}
	req, err := request(ctx, c, address)
	if err != nil {
		return err
	}
	transport := transportTo(address, req.Host)
	defer transport.CloseIdleConnections()
	resp, err := transport.RoundTrip(req) // no redirects: the answer itself is judged
	if err != nil {
		return c.failed(address, cause(ctx, c, err))
	}
	defer func() { _ = resp.Body.Close() }()
	body, err := io.ReadAll(io.LimitReader(resp.Body, bodyLimit))
	if err != nil {
		return c.failed(address, fmt.Errorf("%s, then %w", resp.Status, cause(ctx, c, err)))
	}
	return c.judge(address, resp, body)
}

func (c *Check) judge(address string, resp *http.Response, body []byte) error {
	ok := resp.StatusCode >= 200 && resp.StatusCode <= 299
	if len(c.Status) > 0 {
		ok = slices.Contains(c.Status, resp.StatusCode)
	}
	if !ok {
		return c.failed(address, fmt.Errorf("%s%s", resp.Status, excerpt(body)))
	}
	if c.Contains != "" && !strings.Contains(string(body), c.Contains) {
		return c.failed(address, fmt.Errorf("the answer does not contain %q%s", c.Contains, excerpt(body)))
	}
	return nil
}

func request(ctx context.Context, c *Check, address string) (*http.Request, error) {
	scheme := "http"
	if c.Route.TLS != nil {
		scheme = "https"
	}
	path := c.Path
	if !strings.HasPrefix(path, "/") {
		path = "/" + path
	}
	req, err := http.NewRequestWithContext(ctx, c.method(), scheme+"://"+address+path, nil)
	if err != nil {
		return nil, fmt.Errorf("smoke check of route %q: %w", c.Route.Name, err)
	}
	if c.Route.Host != "" {
		req.Host = c.Route.Host
	}
	req.Header.Set("User-Agent", "instar-smoke")
	req.Header.Set(sdk.PreviewHeader, strconv.Itoa(c.Revision))
	return req, nil
}

func (c *Check) method() string {
	if c.Method == "" {
		return http.MethodGet
	}
	return c.Method
}

func (c *Check) failed(address string, err error) error {
	return fmt.Errorf("%s %s through route %q on %s: %w", c.method(), c.Path, c.Route.Name, address, err)
}

// transportTo connects to one listener, once. The certificate's name is not checked: the connection
// does not leave the machine, and the certificate is for the name that clients use.
func transportTo(address, host string) *http.Transport {
	serverName, _, err := net.SplitHostPort(host)
	if err != nil {
		serverName = host
	}
	return &http.Transport{
		DisableKeepAlives: true,
		TLSClientConfig:   &tls.Config{InsecureSkipVerify: true, ServerName: serverName}, //nolint:gosec // see above
		DialContext: func(ctx context.Context, network, _ string) (net.Conn, error) {
			return (&net.Dialer{}).DialContext(ctx, network, address)
		},
	}
}

// Address is where a listener can be reached from its own machine.
func Address(listen string) (string, error) {
	host, port, err := net.SplitHostPort(listen)
	if err != nil {
		return "", fmt.Errorf("the route listens on %q, which is no address: %w", listen, err)
	}
	switch ip := net.ParseIP(host); {
	case host == "" || (ip != nil && ip.IsUnspecified() && ip.To4() != nil):
		host = "127.0.0.1"
	case ip != nil && ip.IsUnspecified():
		host = "::1"
	}
	return net.JoinHostPort(host, port), nil
}

func cause(ctx context.Context, c *Check, err error) error {
	if errors.Is(ctx.Err(), context.DeadlineExceeded) {
		return fmt.Errorf("no answer within %s", c.Timeout)
	}
	return err
}

// excerpt shows the beginning of a body in one line.
func excerpt(body []byte) string {
	text := strings.Join(strings.Fields(strings.ToValidUTF8(string(body[:min(len(body), excerptBytes)]), "�")), " ")
	if text == "" {
		return ""
	}
	return ": " + text
}
