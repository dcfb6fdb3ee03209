package logfile

import (
	"context"
	"errors"

	"github.com/instarhq/instar/sdk"
)

// ErrGone ends a read of a log that is not, or not any more, kept.
var ErrGone = errors.New("there is no such log")

// Read yields the lines of an instance's log, oldest first, both streams merged by time. With Follow it
// goes on until ctx ends, or returns nil when the log is removed. running says whether more can still
// come: a last line without a newline is held back while it may grow.
func (k *Keeper) Read(ctx context.Context, id string, opts sdk.LogOptions, running func() bool,
	line func(sdk.LogLine) error,
) error {
	k.mu.Lock()
	log := k.logs[id]
	k.mu.Unlock()
	if log == nil {
		return ErrGone
	}
	r := &reader{out: newLines(log.dir, Stdout), err: newLines(log.dir, Stderr)}
	defer r.out.close()
	defer r.err.close()
	emit := line
	if opts.Tail > 0 {
		emit = r.remember(opts.Tail)
	}
	for first := true; ; first = false {
		k.mu.Lock()
		changed := log.changed
		k.mu.Unlock()
		// Asked before reading: what an instance that has ended wrote is all there.
		ended := !running()
		r.out.flush, r.err.flush = ended || !opts.Follow, ended || !opts.Follow
		if err := r.drain(ctx, emit); err != nil {
			return err
		}
		if first && opts.Tail > 0 {
			emit = line
			if err := r.replay(line); err != nil {
				return err
			}
		}
		if !opts.Follow {
			return nil
		}
		select {
		case <-changed:
		case <-log.gone:
			return nil
		case <-ctx.Done():
			return context.Cause(ctx)
		}
		r.out.refresh()
		r.err.refresh()
	}
}

// Poke wakes those who follow an instance's log: it has ended, so a last line will get no newline.
func (k *Keeper) Poke(id string) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if log := k.logs[id]; log != nil {
		close(log.changed)
		log.changed = make(chan struct{})
	}
}

// reader merges the two streams of a log.
type reader struct {
	out, err *lines
	ring     []sdk.LogLine // the last lines, for Tail
	at       int           // where the next one goes
}

// drain yields everything that is there.
func (r *reader) drain(ctx context.Context, line func(sdk.LogLine) error) error {
	for ctx.Err() == nil {
		a, err := r.out.peek()
		if err != nil {
			return err
		}
		b, err := r.err.peek()
		if err != nil {
			return err
		}
		from := r.out
		switch {
		case a == nil && b == nil:
			return nil
		case a == nil || b != nil && b.Time.Before(a.Time):
			from = r.err
		}
		next := *from.next
		from.next = nil
		if err := line(next); err != nil {
			return err
		}
	}
	return context.Cause(ctx)
}

// remember returns a receiver that keeps the last n lines.
func (r *reader) remember(n int) func(sdk.LogLine) error {
	return func(l sdk.LogLine) error {
		if len(r.ring) < n {
			r.ring = append(r.ring, l)
			return nil
		}
		r.ring[r.at] = l
		r.at = (r.at + 1) % n
		return nil
	}
}

func (r *reader) replay(line func(sdk.LogLine) error) error {
	for i := range r.ring {
		if err := line(r.ring[(r.at+i)%len(r.ring)]); err != nil {
			return err
		}
	}
	r.ring = nil
	return nil
}
