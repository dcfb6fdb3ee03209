package api

import (
	"bytes"
	"context"
	"encoding/json"
	"io"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/google/uuid"

	"github.com/instarhq/instar/core"
)

// Forwarding lets any node of a cluster answer: it passes what only the leader decides on to the leader,
// and waits for the leader's state where a read asks for it.
type Forwarding struct {
	Node   string
	Leader func() string // the leader's name; empty: not known
	// Send passes a request on to another node; its URL has path and query only. Who calls is in its context.
	Send func(node string, r *http.Request) (*http.Response, error)
	// Seq is the newest record in this node's view, and Applied returns when the view has one.
	Seq     func() uint64
	Applied func(ctx context.Context, seq uint64) error
	// Current returns when everything that had been committed, anywhere, when it was called is in the view.
	Current func(ctx context.Context) error
}

const (
	// leaderPatience is for how long a request waits for a leader that takes it: a few elections.
	leaderPatience = 10 * time.Second
	leaderPause    = 50 * time.Millisecond
	// ownWrites bounds the wait for a write that the leader has answered to be in the view here, too.
	ownWrites = 5 * time.Second
	// seqHeader tells the member that has passed a request on how far the leader was when it answered.
	seqHeader = "Instar-Seq"
	// maxAnswer bounds the answer to a write, in bytes.
	maxAnswer = 64 << 20
)

// local are the writes that are about the node that is asked.
var local = map[string]bool{
	"/v1/cluster/init": true, "/v1/cluster/join": true, "/v1/cluster/leave": true,
	"/v1/snapshots": true, "/v1/snapshots/prune": true, "/v1/snapshots/verify": true, "/v1/snapshots/drill": true, "/v1/restore": true,
}

// Handler puts forwarding in front of an API.
func (f *Forwarding) Handler(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch {
		case r.Method == http.MethodGet || r.Method == http.MethodHead:
			f.read(w, r, next)
		case local[r.URL.Path]:
			next.ServeHTTP(w, r)
		default:
			f.write(w, r, next)
		}
	})
}

// LeaderOnly is for requests that another node has passed on: they go no further.
func (f *Forwarding) LeaderOnly(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if f.Leader() != f.Node {
			answerProblem(w, core.Errorf(core.CodeNotLeader, "node %q does not lead", f.Node))
			return
		}
		out := newStored()
		next.ServeHTTP(out, r)
		out.header.Set(seqHeader, strconv.FormatUint(f.Seq(), 10))
		out.writeTo(w)
	})
}

// read answers from the local replica; with ?consistent=true after that has everything that was committed
// before the request.
func (f *Forwarding) read(w http.ResponseWriter, r *http.Request, next http.Handler) {
	query := r.URL.Query()
	if !query.Has("consistent") {
		next.ServeHTTP(w, r)
		return
	}
	consistent, err := strconv.ParseBool(query.Get("consistent"))
	if err != nil {
		answerProblem(w, core.Errorf(core.CodeInvalid, "consistent=%q is neither true nor false", query.Get("consistent")))
		return
	}
	if consistent {
		ctx, cancel := context.WithTimeout(r.Context(), leaderPatience)
		err := f.Current(ctx)
		cancel()
		if err != nil {
			answerProblem(w, core.Errorf(core.CodeUnavailable, "a consistent read needs the leader: %w", err).
				WithHint("without consistent=true the local replica answers"))
			return
		}
	}
	query.Del("consistent")
	r = r.Clone(r.Context())
	r.URL.RawQuery = query.Encode()
	next.ServeHTTP(w, r)
}

// write has the leader answer, whoever that is by then. With its request id, which it gets if it has none,
// a request can be sent again after it broke off: it happens once.
func (f *Forwarding) write(w http.ResponseWriter, r *http.Request, next http.Handler) {
	body, err := io.ReadAll(r.Body)
	if err != nil {
		answerProblem(w, core.Errorf(core.CodeTooLarge, "the request's body: %w", err))
		return
	}
	r = r.Clone(r.Context())
	if r.Header.Get("Request-Id") == "" {
		r.Header.Set("Request-Id", uuid.NewString())
	}
	ctx, cancel := context.WithTimeout(r.Context(), leaderPatience)
	defer cancel()
	last := error(core.Errorf(core.CodeNotLeader, "node %q knows of no leader: too few voters reach each other", f.Node).
		WithHint("instar cluster status; the request may be repeated"))
	for {
		r.Body = io.NopCloser(bytes.NewReader(body))
		answer, err := f.once(r, next)
		if err == nil {
			f.awaitOwn(ctx, answer)
			answer.writeTo(w)
			return
		}
		if core.CodeOf(err) != core.CodeNotLeader || core.CodeOf(last) == core.CodeNotLeader {
			last = err
		}
		if !core.Retryable(err) {
			break
		}
		pause := time.NewTimer(leaderPause)
		select {
		case <-pause.C:
			continue
		case <-ctx.Done():
			pause.Stop()
		}
		break
	}
	answerProblem(w, last)
}

// awaitOwn waits until who has written here can read it here.
func (f *Forwarding) awaitOwn(ctx context.Context, answer *stored) {
	seq, err := strconv.ParseUint(answer.header.Get(seqHeader), 10, 64)
	answer.header.Del(seqHeader)
	if err != nil || answer.status >= http.StatusBadRequest {
		return
	}
	ctx, cancel := context.WithTimeout(ctx, ownWrites)
	defer cancel()
	_ = f.Applied(ctx, seq) // it is committed, whether this node has it or not
}

// once asks the present leader. An error that is retryable may be retried; every other outcome is the answer.
func (f *Forwarding) once(r *http.Request, next http.Handler) (*stored, error) {
	leader := f.Leader()
	if leader == "" {
		return nil, core.Errorf(core.CodeNotLeader, "node %q knows of no leader: too few voters reach each other", f.Node).
			WithHint("instar cluster status; the request may be repeated")
	}
	var out *stored
	if leader == f.Node {
		out = newStored()
		next.ServeHTTP(out, r)
	} else {
		resp, err := f.Send(leader, r)
		if err != nil {
			if r.Context().Err() != nil {
				return nil, core.Errorf(core.CodeTimeout, "the request ended before the leader %q answered: %w", leader, r.Context().Err()).
					WithHint("repeat it with the same Request-Id: it happens at most once")
			}
			return nil, core.Errorf(core.CodeTimeout, "the leader %q: %w", leader, err).WithHint("repeat it with the same Request-Id: it happens at most once")
		}
		defer func() { _ = resp.Body.Close() }() // it has been read
		data, err := io.ReadAll(io.LimitReader(resp.Body, maxAnswer))
		if err != nil {
			return nil, core.Errorf(core.CodeTimeout, "the answer of the leader %q broke off: %w", leader, err)
		}
		out = &stored{status: resp.StatusCode, header: resp.Header, body: data}
	}
	if out.notLeader() {
		return nil, core.Errorf(core.CodeNotLeader, "node %q does not lead any more", leader)
	}
	return out, nil
}

// stored is an answer that is complete before it is given. It is the http.ResponseWriter of one that is
// made here.
type stored struct {
	status  int
	written bool // the status
	header  http.Header
	body    []byte
}

func newStored() *stored { return &stored{status: http.StatusOK, header: http.Header{}} }

// Header implements http.ResponseWriter.
func (s *stored) Header() http.Header { return s.header }

// WriteHeader implements http.ResponseWriter.
func (s *stored) WriteHeader(status int) {
	if !s.written {
		s.status, s.written = status, true
	}
}

// Write implements http.ResponseWriter.
func (s *stored) Write(data []byte) (int, error) {
	s.written = true
	s.body = append(s.body, data...)
	return len(data), nil
}

func (s *stored) writeTo(w http.ResponseWriter) {
	for name, values := range s.header {
		if name != "Connection" && name != "Transfer-Encoding" {
			w.Header()[name] = values
		}
	}
	w.WriteHeader(s.status)
	_, _ = w.Write(s.body) // the client is gone if this fails
}

func (s *stored) notLeader() bool {
	if s.status != http.StatusServiceUnavailable || !strings.Contains(s.header.Get("Content-Type"), "json") {
		return false
	}
	var p Problem
	return json.Unmarshal(s.body, &p) == nil && p.Code == core.CodeNotLeader
}

// answerProblem answers with an error outside of the handlers.
func answerProblem(w http.ResponseWriter, err error) {
	e, ok := core.AsError(err)
	if !ok {
		e = core.Errorf(core.CodeInternal, "%w", err)
	}
	p := &Problem{
		Type: "about:blank", Status: statuses[e.Code], Code: e.Code, Title: http.StatusText(statuses[e.Code]),
		Detail: err.Error(), Object: e.Object, Hint: e.Hint,
	}
	if e.RetryAfter > 0 {
		p.RetryAfter = max(1, int(e.RetryAfter.Seconds()))
		w.Header().Set("Retry-After", strconv.Itoa(p.RetryAfter))
	}
	w.Header().Set("Content-Type", p.ContentType(""))
	w.WriteHeader(p.Status)
	_ = json.NewEncoder(w).Encode(p) // the client is gone if this fails
}
