package daemon

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"time"

	"github.com/instarhq/instar/core"
	"github.com/instarhq/instar/core/driverhost"
	"github.com/instarhq/instar/core/mesh"
	"github.com/instarhq/instar/core/state"
	"github.com/instarhq/instar/sdk"
)

const (
	artifactsPath = "/rpc/v1/artifacts/"      // + DRIVER/DIGEST: what the driver exports
	resolvePath   = "/rpc/v1/resolve"         // pins an artifact whose source is on this node
	artifactStall = 30 * time.Second          // how long a node may go without a byte
	resolveLimit  = 10 * time.Minute          // of pinning an artifact on another node
	maxResolve    = int64(64 << 10)           // bytes of a request or an answer
	statusMissing = http.StatusNotFound       // it does not have the artifact
	statusUnable  = http.StatusNotImplemented // its driver cannot export
)

// serveOthers answers members that need an artifact, and the leader that has to pin one.
func (a *artifacts) serveOthers() {
	a.daemon.mesh.HandleFunc("GET "+artifactsPath+"{driver}/{digest}", func(w http.ResponseWriter, r *http.Request) {
		if _, ok := a.member(r); !ok {
			http.Error(w, "only members of the cluster get artifacts", http.StatusForbidden)
			return
		}
		a.send(w, r, artifactKey{r.PathValue("driver"), core.Digest(r.PathValue("digest"))})
	})
	a.daemon.mesh.HandleFunc("POST "+resolvePath, func(w http.ResponseWriter, r *http.Request) {
		// A voter could commit any digest itself; a worker has no business to make this node read a path.
		if m, ok := a.member(r); !ok || m.Role != core.RoleVoter {
			http.Error(w, "only voters have artifacts pinned", http.StatusForbidden)
			return
		}
		a.resolveFor(w, r)
	})
}

func (a *artifacts) member(r *http.Request) (core.Member, bool) {
	peer, _ := mesh.PeerOf(r.Context())
	m, ok := state.Members.Get(a.daemon.state.View(), peer.Node)
	return m, ok && m.State != core.MemberRemoved
}

func (a *artifacts) send(w http.ResponseWriter, r *http.Request, key artifactKey) {
	if err := key.check(); err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	select {
	case a.exports <- struct{}{}:
		defer func() { <-a.exports }()
	case <-r.Context().Done():
		return
	}
	control := http.NewResponseController(w)
	defer func() { _ = control.SetWriteDeadline(time.Time{}) }() // the connection is used again
	out := &counted{w: punctual{w, control}}
	err := a.export(r.Context(), key, out)
	switch {
	case err == nil:
	case out.n > 0:
		panic(http.ErrAbortHandler) // what has been sent must not look whole
	default:
		http.Error(w, err.Error(), statusOf(err))
	}
}

// punctual gives each write a deadline: a reader that does not read must not keep a slot.
type punctual struct {
	w       io.Writer
	control *http.ResponseController
}

// Write implements io.Writer.
func (p punctual) Write(data []byte) (int, error) {
	if err := p.control.SetWriteDeadline(time.Now().Add(artifactStall)); err != nil {
		return 0, err
	}
	return p.w.Write(data)
}

func statusOf(err error) int {
	switch sdk.CodeOf(err) {
	case sdk.CodeNotFound:
		return statusMissing
	case sdk.CodeUnsupported:
		return statusUnable
	}
	return http.StatusServiceUnavailable
}

// fromNode reads an artifact on another node.
func (a *artifacts) fromNode(ctx context.Context, node string, key artifactKey, use func(io.Reader) error) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	timer := time.AfterFunc(artifactStall, func() {
		cancel(sdk.Unavailable(artifactStall, "not a byte of artifact %s came in %s", key.digest, artifactStall))
	})
	defer timer.Stop()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, mesh.URL(node, artifactsPath+key.driver+"/"+string(key.digest)), nil)
	if err != nil {
		return err
	}
	resp, err := a.daemon.mesh.Client().Do(req)
	if err != nil {
		return unreachable(ctx, err)
	}
	defer func() { _ = resp.Body.Close() }() // its end is seen by reading it
	switch resp.StatusCode {
	case http.StatusOK:
	case statusMissing:
		return sdk.NotFound("it does not have artifact %s", key.digest)
	case statusUnable:
		return sdk.Unsupported("its driver %s cannot export artifacts", key.driver)
	default:
		text, _ := io.ReadAll(io.LimitReader(resp.Body, 1024)) // only the message is poorer without
		return sdk.Unavailable(0, "%s: %s", resp.Status, bytes.TrimSpace(text))
	}
	if err := use(&lively{resp.Body, timer}); err != nil {
		return unreachable(ctx, err)
	}
	return nil
}

// unreachable gives errors of the network their code; those of a driver have one.
func unreachable(ctx context.Context, err error) error {
	if cause := context.Cause(ctx); cause != nil {
		return cause
	}
	var typed *sdk.Error
	if errors.As(err, &typed) {
		return err
	}
	return sdk.Unavailable(0, "%w", err)
}

// lively puts off a timer with every byte.
type lively struct {
	r     io.Reader
	timer *time.Timer
}

// Read implements io.Reader.
func (l *lively) Read(p []byte) (int, error) {
	n, err := l.r.Read(p)
	l.timer.Reset(artifactStall)
	return n, err
}

// resolveRequest asks a node to pin an artifact; the answer is the artifact with its digest.
type resolveRequest struct {
	Compute  core.Compute  `json:"compute"`
	Artifact core.Artifact `json:"artifact"`
}

// resolveAt pins an artifact on another member, whose caller has named it.
func (a *artifacts) resolveAt(ctx context.Context, node string, compute core.Compute, artifact core.Artifact) (core.Artifact, error) {
	if a.daemon.mesh == nil || node == a.daemon.cfg.Node {
		return core.Artifact{}, core.Errorf(core.CodeNotFound, "%s is not on node %s", artifact.Source, node)
	}
	ctx, cancel := context.WithTimeout(ctx, resolveLimit)
	defer cancel()
	body, err := json.Marshal(resolveRequest{compute, artifact})
	if err != nil {
		return core.Artifact{}, err
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, mesh.URL(node, resolvePath), bytes.NewReader(body))
	if err != nil {
		return core.Artifact{}, err
	}
	resp, err := a.daemon.mesh.Client().Do(req)
	if err != nil {
		return core.Artifact{}, err
	}
	defer func() { _ = resp.Body.Close() }() // read to its end
	if resp.StatusCode != http.StatusOK {
		return core.Artifact{}, core.Errorf(core.CodeUnavailable, "node %s: %s", node, resp.Status)
	}
	var pinned core.Artifact
	if err := json.NewDecoder(io.LimitReader(resp.Body, maxResolve)).Decode(&pinned); err != nil {
		return core.Artifact{}, core.Errorf(core.CodeUnavailable, "node %s: %w", node, err)
	}
	if err := (artifactKey{compute.Driver, pinned.Digest}).check(); err != nil {
		return core.Artifact{}, err
	}
	artifact.Digest = pinned.Digest // the rest is what the operator has declared
	return artifact, nil
}

func (a *artifacts) resolveFor(w http.ResponseWriter, r *http.Request) {
	var asked resolveRequest
	if err := json.NewDecoder(http.MaxBytesReader(w, r.Body, maxResolve)).Decode(&asked); err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	driver, err := a.daemon.host.Compute(asked.Compute.Driver, asked.Compute.Target)
	if err != nil {
		http.Error(w, err.Error(), statusMissing)
		return
	}
	pinned, err := driver.Resolve(r.Context(), driverhost.Artifact(asked.Artifact))
	if err != nil {
		http.Error(w, err.Error(), statusOf(err))
		return
	}
	w.Header().Set("Content-Type", "application/json")
	_ = json.NewEncoder(w).Encode(driverhost.CoreArtifact(pinned)) // whoever asked is gone if this fails
}
