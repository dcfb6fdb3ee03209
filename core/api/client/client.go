package client

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"time"

	"github.com/google/uuid"

	"github.com/instarhq/instar/core"
)

// ErrUnreachable is in the chain of every error that says that no daemon answered.
var ErrUnreachable = errors.New("instard is unreachable")

// attempts bounds how often a request is sent; with the back-off below that is about three seconds.
const attempts = 5

// maxProblem bounds how much of an error's body is read, in bytes.
const maxProblem = 1 << 20

// Client calls one daemon. Safe for concurrent use.
type Client struct {
	endpoint
	http *http.Client
}

// New makes a client for an address: "unix:///path", "/path", "https://host:port" or "http://host:port". It
// does not connect. Open takes more.
func New(address string) (*Client, error) { return Open(Options{Address: address}) }

// Address is what New was given.
func (c *Client) Address() string { return c.address }

// Close closes idle connections.
func (c *Client) Close() { c.transport.CloseIdleConnections() }

// Write says why a write is made, and under which request id; an empty id gets a fresh one.
type Write struct {
	RequestID string
	Reason    string
}

type call struct {
	method, path string
	query        url.Values
	body         any       // nil: none
	file         io.Reader // the body as it is, in place of body; such a call is sent once
	write        *Write
}

// do sends the call, repeating it on transient errors, and decodes the answer into out.
func (c *Client) do(ctx context.Context, req call, out any) error {
	resp, err := c.send(ctx, req)
	if err != nil {
		return err
	}
	defer func() { _ = resp.Body.Close() }() // everything that matters has been read
	if err := json.NewDecoder(resp.Body).Decode(out); err != nil {
		return core.Errorf(core.CodeInternal, "the answer to %s %s does not decode: %w", req.method, req.path, err).
			WithHint("client and daemon may be of different versions: compare instar version")
	}
	return nil
}

// send returns the first successful response; its body is the caller's to close.
func (c *Client) send(ctx context.Context, req call) (*http.Response, error) {
	if req.write != nil && req.write.RequestID == "" {
		w := *req.write
		w.RequestID = uuid.NewString()
		req.write = &w
	}
	payload, err := encode(req.body)
	if err != nil {
		return nil, err
	}
	delay := 100 * time.Millisecond
	for attempt := 1; ; attempt++ {
		resp, err := c.once(ctx, req, payload)
		if err == nil {
			return resp, nil
		}
		if attempt == attempts || req.file != nil || !core.Retryable(err) || errors.Is(err, ErrUnreachable) {
			return nil, err
		}
		if e, ok := core.AsError(err); ok && e.RetryAfter > delay {
			delay = min(e.RetryAfter, 5*time.Second)
		}
		select {
		case <-time.After(delay):
			delay *= 2
		case <-ctx.Done():
			return nil, err
		}
	}
}

func encode(body any) ([]byte, error) {
	if body == nil {
		return nil, nil
	}
	data, err := json.Marshal(body)
	if err != nil {
		return nil, fmt.Errorf("encode the request: %w", err)
	}
	return data, nil
}

func (c *Client) once(ctx context.Context, req call, payload []byte) (*http.Response, error) {
	target := c.base + req.path
	if len(req.query) > 0 {
		target += "?" + req.query.Encode()
	}
	var body io.Reader = bytes.NewReader(payload)
	if req.file != nil {
		body = req.file
	}
	r, err := http.NewRequestWithContext(ctx, req.method, target, body)
	if err != nil {
		return nil, fmt.Errorf("%s %s: %w", req.method, req.path, err)
	}
	if payload != nil {
		r.Header.Set("Content-Type", "application/json")
	}
	if req.write != nil {
		r.Header.Set("Request-Id", req.write.RequestID)
		if req.write.Reason != "" {
			r.Header.Set("Instar-Reason", req.write.Reason)
		}
	}
	resp, err := c.http.Do(r)
	if err != nil {
		return nil, c.transportError(ctx, req, err)
	}
	if resp.StatusCode < 300 {
		return resp, nil
	}
	defer func() { _ = resp.Body.Close() }() // the problem has been read
	return nil, problem(resp)
}

// transportError tells a daemon that is not there from one that broke off in the middle.
func (c *Client) transportError(ctx context.Context, req call, err error) error {
	if ctx.Err() != nil {
		return fmt.Errorf("%s %s: %w", req.method, req.path, ctx.Err())
	}
	if e, ok := core.AsError(err); ok { // the server is not who it should be
		return e
	}
	var op *net.OpError
	if errors.As(err, &op) && op.Op == "dial" {
		return (&core.Error{
			Code: core.CodeUnavailable, Message: "no instard answers at " + c.address,
			Err: fmt.Errorf("%w: %w", ErrUnreachable, op.Err),
		}).WithHint("start it (instard -dev -data-dir DIR), or say where it is with -address or %s", EnvAddress)
	}
	return core.Errorf(core.CodeTimeout, "%s broke off during %s %s: %w", c.address, req.method, req.path, err)
}

// problem decodes an RFC 9457 answer to the error that the server raised.
func problem(resp *http.Response) error {
	data, err := io.ReadAll(io.LimitReader(resp.Body, maxProblem))
	if err != nil {
		return core.Errorf(core.CodeUnavailable, "the answer %s broke off: %w", resp.Status, err)
	}
	var p struct {
		Detail     string    `json:"detail"`
		Code       core.Code `json:"code"`
		Object     string    `json:"object"`
		Hint       string    `json:"hint"`
		RetryAfter int       `json:"retry_after"`
	}
	if json.Unmarshal(data, &p) != nil || p.Code == "" {
		return core.Errorf(core.CodeInternal, "the daemon answered %s", resp.Status).
			WithHint("is this the address of an instard?")
	}
	return &core.Error{
		Code: p.Code, Message: p.Detail, Object: p.Object, Hint: p.Hint,
		RetryAfter: time.Duration(p.RetryAfter) * time.Second,
	}
}
