// Package report carries what the agent of a node observes into the store.
//
// Observations are whole objects. They are kept under their key until they are committed: of several
// for one object the newest wins, and everything that came in while one transaction was under way goes
// into the next. So the first observation after a quiet time is proposed at once, and ten thousand
// that come together need a handful of transactions. While the store cannot be written to, nothing is
// lost and memory is bounded by the number of objects.
package report

import (
	"context"
	"sync"
	"time"

	"github.com/hashicorp/go-hclog"

	"github.com/instarhq/instar/core"
	"github.com/instarhq/instar/core/state"
)

const (
	maxOps     = 2000
	maxBytes   = core.MaxValueBytes // of one batch: a quarter of what a transaction may have
	firstRetry = 100 * time.Millisecond
	lastRetry  = 5 * time.Second
	// proposeTimeout bounds one attempt; the store answers far sooner, or has lost its leader.
	proposeTimeout = 15 * time.Second
)

// Updater is the part of state.State that the reporter writes through.
type Updater interface {
	Update(ctx context.Context, meta core.Meta, fn func(*state.Tx) error) (core.Receipt, error)
}

// Observation is one object as the agent sees it.
type Observation struct {
	Kind core.Kind
	ID   string
	// Size is about how long the object's JSON is, in bytes.
	Size int
	// Write puts or deletes the object in tx, or leaves it alone if it is no longer of interest. It may
	// be called several times.
	Write func(tx *state.Tx)
}

// Reporter collects observations and commits them. Make one with New and run it with Run.
type Reporter struct {
	store  Updater
	meta   core.Meta
	logger hclog.Logger
	wake   chan struct{}

	mu      sync.Mutex
	busy    bool // a batch is being committed
	pending map[key]Observation
	order   []key // in which the objects of pending were first reported
}

type key struct {
	kind core.Kind
	id   string
}

// New makes the reporter of a node.
func New(store Updater, node string, logger hclog.Logger) *Reporter {
	return &Reporter{
		store: store, logger: logger, wake: make(chan struct{}, 1), pending: map[key]Observation{},
		meta: core.Meta{Principal: "agent:" + node, Verb: "agent.report", Origin: node},
	}
}

// Report queues an observation and returns at once.
func (r *Reporter) Report(o Observation) {
	r.mu.Lock()
	k := key{o.Kind, o.ID}
	if _, again := r.pending[k]; !again {
		r.order = append(r.order, k)
	}
	r.pending[k] = o
	r.mu.Unlock()
	select {
	case r.wake <- struct{}{}:
	default:
	}
}

// Idle reports whether everything that has been reported is committed.
func (r *Reporter) Idle() bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return !r.busy && len(r.pending) == 0
}

// Run commits observations until ctx ends.
func (r *Reporter) Run(ctx context.Context) {
	for {
		batch := r.take()
		if len(batch) == 0 {
			select {
			case <-r.wake:
				continue
			case <-ctx.Done():
				return
			}
		}
		r.commit(ctx, batch)
		if ctx.Err() != nil {
			return
		}
		r.mu.Lock()
		r.busy = false
		r.mu.Unlock()
	}
}

// take removes the oldest observations that fit into one transaction.
func (r *Reporter) take() []Observation {
	r.mu.Lock()
	defer r.mu.Unlock()
	var batch []Observation
	size := 0
	for _, k := range r.order {
		o := r.pending[k]
		if len(batch) == maxOps || (len(batch) > 0 && size+o.Size > maxBytes) {
			break
		}
		size += o.Size
		batch = append(batch, o)
		delete(r.pending, k)
	}
	r.order = r.order[len(batch):]
	r.busy = len(batch) > 0
	if len(r.order) == 0 {
		r.order = nil // let go of the array
	}
	return batch
}

// commit writes a batch, for as long as it takes. A batch that the store refuses for good is halved
// until the observation that it refuses is alone, and that one is given up with an error.
func (r *Reporter) commit(ctx context.Context, batch []Observation) {
	delay := firstRetry
	for len(batch) > 0 {
		err := r.propose(ctx, batch)
		switch {
		case err == nil || ctx.Err() != nil:
			return
		case permanent(err) && len(batch) == 1:
			r.logger.Error("the store refuses an observation", "kind", batch[0].Kind, "id", batch[0].ID, "error", err)
			return
		case permanent(err):
			half := len(batch) / 2
			r.commit(ctx, batch[:half])
			r.commit(ctx, batch[half:])
			return
		}
		r.logger.Warn("cannot report, trying again", "observations", len(batch), "retry_in", delay, "error", err)
		select {
		case <-time.After(delay):
		case <-ctx.Done():
			return
		}
		delay = min(2*delay, lastRetry)
		batch = r.renew(batch)
	}
}

func (r *Reporter) propose(ctx context.Context, batch []Observation) error {
	ctx, cancel := context.WithTimeout(ctx, proposeTimeout)
	defer cancel()
	_, err := r.store.Update(ctx, r.meta, func(tx *state.Tx) error {
		for i := range batch {
			batch[i].Write(tx)
		}
		return nil
	})
	return err
}

// renew replaces observations of a failed batch by newer ones that came in meanwhile.
func (r *Reporter) renew(batch []Observation) []Observation {
	r.mu.Lock()
	defer r.mu.Unlock()
	for i := range batch {
		k := key{batch[i].Kind, batch[i].ID}
		newer, ok := r.pending[k]
		if !ok {
			continue
		}
		batch[i] = newer
		delete(r.pending, k)
	}
	r.order = kept(r.order, r.pending)
	return batch
}

func kept(order []key, pending map[key]Observation) []key {
	out := make([]key, 0, len(pending))
	for _, k := range order {
		if _, ok := pending[k]; ok {
			out = append(out, k)
		}
	}
	return out
}

// permanent reports whether the same transaction will be refused again.
func permanent(err error) bool {
	switch core.CodeOf(err) {
	case core.CodeInvalid, core.CodeTooLarge, core.CodeDenied, core.CodeUnsupported:
		return true
	}
	return false
}
