package docker

import (
	"context"
	"errors"
	"net"
	"sync"
	"time"

	cerrdefs "github.com/containerd/errdefs"
	"github.com/moby/moby/client"

	"github.com/instarhq/instar/sdk"
)

// Limits of calls to the engine. One that is stopped or hangs must not hang the driver.
const (
	askFor  = 15 * time.Second // calls that only ask
	makeFor = time.Minute      // create, start, remove
	// registryFor is for the engine's calls to a registry.
	registryFor = 30 * time.Second
	// afterwards is what tidying up after a cancelled call gets.
	afterwards = 10 * time.Second
	// retryAfter is when to try again what an absent engine could not do.
	retryAfter = time.Second
)

// engine is the API of one engine. The client negotiates the API's version once; after an outage there may be
// another version, so a new client takes the place of the old one.
type engine struct {
	mu       sync.Mutex
	endpoint endpoint
	api      *client.Client // nil: made when it is needed
}

// client returns the present client.
func (e *engine) client() (*client.Client, error) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.api == nil {
		api, err := e.endpoint.dial()
		if err != nil {
			return nil, sdk.Unavailable(retryAfter, "%w", err)
		}
		e.api = api
	}
	return e.api, nil
}

// renew makes the next call begin anew, with what the certificates' files hold then.
func (e *engine) renew() {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.api != nil {
		_ = e.api.Close() // it closes idle connections, and cannot fail
	}
	e.api = nil
}

// move changes the way to the engine.
func (e *engine) move(to endpoint) {
	e.mu.Lock()
	changed := !e.endpoint.same(to)
	e.endpoint = to
	e.mu.Unlock()
	if changed {
		e.renew()
	}
}

func (e *engine) at() endpoint {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.endpoint
}

// ask makes one call with a limit and gives its error a code.
func (e *engine) ask(ctx context.Context, limit time.Duration, what string, call func(context.Context, *client.Client) error) error {
	api, err := e.client()
	if err != nil {
		return err
	}
	limited, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	return e.explain(ctx, what, call(limited, api))
}

// explain gives an engine's error a code. ctx is the caller's: its end is the caller's own affair.
func (e *engine) explain(ctx context.Context, what string, err error) error {
	var typed *sdk.Error
	var network net.Error
	switch {
	case err == nil || errors.As(err, &typed):
		return err
	case ctx.Err() != nil:
		return context.Cause(ctx)
	case errors.Is(err, context.DeadlineExceeded), errors.As(err, &network) && network.Timeout():
		return sdk.Unavailable(retryAfter, "%s: the engine at %s does not answer", what, e.at().url)
	case cerrdefs.IsNotFound(err):
		return sdk.NotFound("%s: %w", what, err)
	case cerrdefs.IsConflict(err):
		return sdk.Conflict("%s: %w", what, err)
	case cerrdefs.IsInvalidArgument(err):
		return sdk.InvalidConfig("", "%s: %w", what, err)
	case cerrdefs.IsNotImplemented(err):
		return sdk.Unsupported("%s: %w", what, err)
	case cerrdefs.IsInternal(err), cerrdefs.IsPermissionDenied(err), cerrdefs.IsUnauthorized(err):
		return &sdk.Error{Code: sdk.CodeInternal, Message: what + ": " + err.Error(), Err: err}
	}
	// What is left are failed connections, answers that were cut off, and an engine that is ending.
	return sdk.Unavailable(retryAfter, "%s: the engine at %s cannot be reached: %w", what, e.at().url, err)
}
