package docker

import (
	"context"
	"errors"
	"io/fs"
	"strings"
	"time"

	"github.com/distribution/reference"
	"github.com/moby/moby/api/pkg/authconfig"
	"github.com/moby/moby/api/types/jsonstream"
	"github.com/moby/moby/api/types/registry"
	"github.com/moby/moby/client"

	"github.com/instarhq/instar/plugins/compute/docker/credential"
	"github.com/instarhq/instar/sdk"
)

// stalled is how long a pull may go on without a word from the engine.
const stalled = 2 * time.Minute

// errStalled is what ends a pull of which nothing is heard.
var errStalled = errors.New("the engine says nothing of the pull any more")

// pull has the engine pull an image by name, which is ref or ref with a digest.
func (t *target) pull(ctx context.Context, ref reference.Named, name string, progress func(sdk.FetchProgress)) error {
	auth, err := t.authFor(ctx, ref)
	if err != nil {
		return err
	}
	api, err := t.engine.client()
	if err != nil {
		return err
	}
	what := "pull " + name
	pulling, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	watchdog := time.AfterFunc(stalled, func() { cancel(errStalled) })
	defer watchdog.Stop()
	response, err := api.ImagePull(pulling, name, client.ImagePullOptions{RegistryAuth: auth})
	if err != nil {
		return t.explainRegistry(ref, t.engine.explain(ctx, what, err))
	}
	defer func() { _ = response.Close() }() // read to its end, or given up
	var layers layers
	for message, err := range response.JSONMessages(pulling) {
		watchdog.Reset(stalled)
		if err == nil && message.Error != nil {
			err = message.Error
		}
		if err != nil {
			var failure *jsonstream.Error
			if errors.As(err, &failure) {
				return t.explainRegistry(ref, sdk.Unavailable(retryAfter, "%s: %s", what, failure.Message))
			}
			return t.engine.explain(ctx, what, err)
		}
		if layers.add(message) && progress != nil {
			progress(layers.sum())
		}
	}
	if pulling.Err() != nil && ctx.Err() == nil {
		return sdk.Unavailable(retryAfter, "%s: %w", what, context.Cause(pulling))
	}
	return ctx.Err()
}

// explainRegistry gives what a registry said a code. Engines pass its words on with any status.
func (t *target) explainRegistry(ref reference.Named, err error) error {
	message := strings.ToLower(err.Error())
	is := func(words ...string) bool {
		for _, word := range words {
			if strings.Contains(message, word) {
				return true
			}
		}
		return false
	}
	switch {
	case ctxEnded(err):
		return err
	case is("unauthorized", "access denied", "denied:", "authentication required", "no basic auth", "forbidden"):
		return sdk.InvalidConfig("artifact.source", "the registry refuses %s: there is no such image, or registry_config of the target lacks credentials for %s: %w",
			reference.FamiliarString(ref), reference.Domain(ref), err)
	case is("not found", "manifest unknown", "name unknown", "no such image", "404"):
		return sdk.NotFound("%w", err)
	case sdk.CodeOf(err) == sdk.CodeInternal:
		return sdk.Unavailable(retryAfter, "%w", err) // a registry that is not there
	}
	return err
}

// authFor returns what authenticates at the registry of a name, as the engine wants it; empty for nobody.
func (t *target) authFor(ctx context.Context, ref reference.Named) (string, error) {
	file := t.settings().RegistryConfig
	if file == "" {
		return "", nil
	}
	host := reference.Domain(ref)
	c, err := credential.For(ctx, file, host)
	switch {
	case ctx.Err() != nil:
		return "", context.Cause(ctx)
	case errors.Is(err, fs.ErrNotExist):
		return "", sdk.InvalidConfig("registry_config", "%w", err)
	case err != nil:
		return "", sdk.Unavailable(retryAfter, "credentials for %s: %w", host, err)
	case c == credential.Credential{}:
		return "", nil
	}
	return authconfig.Encode(registry.AuthConfig{
		Username: c.Username, Password: c.Password, IdentityToken: c.Token, ServerAddress: host,
	})
}

// layers adds up a pull's progress.
type layers struct {
	order []string
	of    map[string]sdk.FetchProgress
	most  int64 // that was ever reported as done: progress does not go back
}

// add takes a message, and reports whether it says anything new.
func (l *layers) add(m jsonstream.Message) bool {
	if m.ID == "" {
		return false
	}
	p, known := l.of[m.ID]
	if l.of == nil {
		l.of = map[string]sdk.FetchProgress{}
	}
	switch m.Status {
	case "Pulling fs layer":
	case "Downloading":
		if m.Progress == nil {
			return false
		}
		p.Done, p.Total = max(p.Done, m.Progress.Current), max(p.Total, m.Progress.Total)
	case "Verifying Checksum", "Download complete", "Extracting", "Pull complete", "Already exists":
		if p.Done == p.Total && known {
			return false
		}
		p.Done = p.Total
	default:
		return false
	}
	if !known {
		l.order = append(l.order, m.ID)
	}
	l.of[m.ID] = p
	return true
}

func (l *layers) sum() sdk.FetchProgress {
	var sum sdk.FetchProgress
	for _, id := range l.order {
		sum.Done += l.of[id].Done
		sum.Total += l.of[id].Total
	}
	l.most = max(l.most, sum.Done)
	sum.Done = l.most
	return sum
}
