package state

import (
	"context"
	"errors"
	"fmt"
	"sync"

	"github.com/instarhq/instar/core"
)

// Source is what a State follows.
type Source interface {
	core.Proposer
	core.Reader
	core.Feed
}

// State is the typed view of a Source. Make one with New and run it with Run; every method waits for
// or works on what Run has applied. Safe for concurrent use.
type State struct {
	source Source

	mu      sync.Mutex
	now     *objects      // never written
	seq     uint64        // that now is as of
	moved   chan struct{} // closed and replaced when seq moves
	watches map[*Watch]struct{}

	loadOnce sync.Once
	loaded   chan struct{} // closed when the first load is complete
}

// New makes an empty State over source.
func New(source Source) *State {
	return &State{
		source: source, now: newObjects(),
		moved: make(chan struct{}), loaded: make(chan struct{}), watches: map[*Watch]struct{}{},
	}
}

// Run loads the current objects and follows the feed until ctx ends. When a restore replaces the log, all
// objects are loaded anew: View then shows the restored ones, and every watch has all objects of before
// and after. An object that cannot be understood ends Run with an error: acting on half a view would be
// worse. Call it once.
func (s *State) Run(ctx context.Context) error {
	for {
		err := s.follow(ctx)
		switch {
		case ctx.Err() != nil:
			return ctx.Err()
		case !errors.Is(err, core.ErrReplaced):
			return err
		}
	}
}

// follow loads what is there and applies what comes, until ctx or the log ends.
func (s *State) follow(ctx context.Context) error {
	at := s.source.Seq()
	feed := s.source.Changes(ctx, at) // of the log that is loaded now, or it ends at once
	if err := s.load(ctx, at); err != nil {
		if s.source.Seq() < at {
			return fmt.Errorf("%w while it was loaded: %w", core.ErrReplaced, err)
		}
		return err
	}
	for rec, err := range feed {
		if err != nil {
			return fmt.Errorf("follow the change feed after %d: %w", s.applied(), err)
		}
		if err := s.apply(rec); err != nil {
			return fmt.Errorf("apply record %d: %w", rec.Seq, err)
		}
	}
	return ctx.Err()
}

// Ready waits until the first load is complete.
func (s *State) Ready(ctx context.Context) error {
	select {
	case <-s.loaded:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// View takes a consistent snapshot.
func (s *State) View() *View {
	s.mu.Lock()
	defer s.mu.Unlock()
	return &View{seq: s.seq, all: s.now}
}

// Wait returns when everything up to sequence number seq is in the view.
func (s *State) Wait(ctx context.Context, seq uint64) error {
	for {
		s.mu.Lock()
		reached, moved := s.seq >= seq, s.moved
		s.mu.Unlock()
		if reached {
			return nil
		}
		select {
		case <-moved:
		case <-ctx.Done():
			return fmt.Errorf("wait for record %d: %w", seq, ctx.Err())
		}
	}
}

// View is a consistent snapshot of all objects.
type View struct {
	seq uint64
	all *objects
}

// Seq is the sequence number that the view is as of.
func (v *View) Seq() uint64       { return v.seq }
func (v *View) objects() *objects { return v.all }

func (s *State) applied() uint64 {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.seq
}

// load replaces all objects by those as of at.
func (s *State) load(ctx context.Context, at uint64) error {
	before := s.View().all
	next := newObjects().draft()
	var dirty []Change
	for kind := range decoders {
		if at == 0 {
			break // an empty store; 0 would mean "now" to List
		}
		stored, err := s.source.List(ctx, kind, "", at)
		if err != nil {
			return fmt.Errorf("load every %s: %w", kind, err)
		}
		for _, o := range stored {
			e, err := decode(kind, o.ID, o.Seq, o.Value)
			if err != nil {
				return err
			}
			next.put(kind, e)
			dirty = append(dirty, Change{Kind: kind, ID: o.ID, Seq: o.Seq})
		}
	}
	for i := range dirty { // now that every route is there to tell its statuses' service
		dirty[i].Service = next.serviceOf(next.get(dirty[i].Kind, dirty[i].ID))
	}
	s.commit(next, at, append(before.gone(next, at), dirty...))
	s.loadOnce.Do(func() { close(s.loaded) })
	return nil
}

// gone marks what is in o and not in next, and what has another service there.
func (o *objects) gone(next *objects, at uint64) (changes []Change) {
	for kind, t := range o.tables {
		t.byID.Scan(func(e *entry) bool {
			change := Change{Kind: kind, ID: e.id, Service: o.serviceOf(e), Seq: at}
			if now := next.get(kind, e.id); now == nil || next.serviceOf(now) != change.Service {
				changes = append(changes, change)
			}
			return true
		})
	}
	return changes
}

func (s *State) apply(rec core.Record) error {
	next := s.View().all.draft()
	dirty := make([]Change, 0, len(rec.Txn.Ops))
	for i := range rec.Txn.Ops {
		change, err := next.apply(rec.Seq, &rec.Txn.Ops[i])
		if err != nil {
			return err
		}
		dirty = append(dirty, change)
	}
	s.commit(next, rec.Seq, dirty)
	return nil
}

func (o *objects) apply(seq uint64, op *core.Op) (Change, error) {
	change := Change{Kind: op.Kind, ID: op.ID, Seq: seq}
	if o.tables[op.Kind] == nil {
		return change, unknownKind(op.Kind)
	}
	if op.Delete {
		if e := o.get(op.Kind, op.ID); e != nil {
			change.Service = o.serviceOf(e)
			o.delete(op.Kind, op.ID)
		}
		return change, nil
	}
	e, err := decode(op.Kind, op.ID, seq, op.Value)
	if err != nil {
		return change, err
	}
	change.Service = o.serviceOf(e)
	o.put(op.Kind, e)
	return change, nil
}

// commit makes the objects, the sequence number and the change marks visible as one.
func (s *State) commit(next *objects, seq uint64, dirty []Change) {
	next.freeze()
	s.mu.Lock()
	defer s.mu.Unlock()
	s.now, s.seq = next, seq
	close(s.moved)
	s.moved = make(chan struct{})
	for w := range s.watches {
		w.mark(dirty)
	}
}

// serviceOf names the service that an object belongs to. A route's status does not say it itself.
func (o *objects) serviceOf(e *entry) string {
	switch v := e.value.(type) {
	case core.Service:
		return e.id
	case core.RouteStatus:
		if route := o.get(core.KindRoute, v.Route); route != nil {
			return route.keys.service
		}
	}
	return e.keys.service
}
