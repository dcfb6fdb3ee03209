package fsm

import (
	"fmt"
	"time"

	"github.com/instarhq/instar/core"
)

// runFlusher brings to the file what Apply leaves in memory, soon after there is something: one synced
// transaction, however much it is. It ends with Close, after a last flush, or with a failure.
func (m *Machine) runFlusher() {
	defer close(m.flusherEnded)
	for {
		select {
		case <-m.wake:
		case <-m.closing:
			_ = m.Flush() // the failure is kept
			return
		}
		stop := m.after(m.options.FlushEvery, func() { signal(m.urgent) })
		select {
		case <-m.urgent:
		case <-m.closing:
		}
		stop()
		if m.Flush() != nil {
			return
		}
	}
}

// after runs f when the time has passed, unless it is stopped before.
func (m *Machine) after(d time.Duration, f func()) (stop func()) {
	if m.options.AfterFunc == nil {
		return func() {}
	}
	timer := m.options.AfterFunc(d, f)
	return func() { timer.Stop() }
}

// Flush returns when everything that was applied before the call is in the file, durably. A failure
// stops the machine for good: after a failed write or sync nobody knows what the disk has. Raft's log
// still has all that the file lacks.
func (m *Machine) Flush() error {
	m.flush.Lock()
	defer m.flush.Unlock()
	if err := m.Failure(); err != nil {
		return err
	}
	file, p, err := m.seal()
	if err != nil || p == nil {
		return err
	}
	patience := m.options.Stall * time.Duration(1+p.bytes/m.options.FlushBytes)
	stop := m.after(patience, func() {
		m.stalled.Store(true)
		m.stop(fmt.Errorf("write %s: the disk has not answered for %s", m.path, patience))
	})
	err = guard(m.path, func() error { return file.Update(p.write) })
	stop()
	if err != nil {
		m.stop(fmt.Errorf("write %w", err))
	}
	return m.flushed(p)
}

// seal takes what has been applied for the file; nil: nothing.
func (m *Machine) seal() (*file, *pending, error) {
	m.applying.Lock() // no batch is half in it
	defer m.applying.Unlock()
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.file == nil {
		return nil, nil, errClosed()
	}
	p := m.growing
	if !p.dirty {
		return nil, nil, nil
	}
	m.flushing, m.growing = p, newPending(m.position)
	return m.file, p, nil
}

// flushed lets go of what the file has now. After a failure it stays: reads go on.
func (m *Machine) flushed(p *pending) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.failure != nil {
		return m.failure
	}
	m.flushing = nil
	m.durableBefore, m.durable = m.durable, p.position
	close(m.room)
	m.room = make(chan struct{})
	return nil
}

// awaitRoom waits while what is in memory is too much, so that a slow disk slows Apply down instead of
// filling the memory.
func (m *Machine) awaitRoom() error {
	for {
		m.mu.RLock()
		size, room, err := m.growing.bytes, m.room, m.failure
		if m.flushing != nil {
			size += m.flushing.bytes
		}
		m.mu.RUnlock()
		if err != nil || size < m.options.PendingBytes {
			return err
		}
		signal(m.urgent)
		select {
		case <-room:
		case <-m.failed:
		case <-m.closing:
			return errClosed()
		}
	}
}

// stop ends applying and flushing for good. The first reason counts.
func (m *Machine) stop(err error) {
	m.mu.Lock()
	first := m.failure == nil
	if first {
		m.failure = err
		close(m.failed)
	}
	m.mu.Unlock()
	if first && m.options.Failed != nil {
		m.options.Failed(err)
	}
}

// Durable returns how far the file is, and how far it was before its newest flush: as far back as that
// a damaged page may take it. The latter is zero before the second flush since the file was opened.
func (m *Machine) Durable() (now, before Position) {
	m.mu.RLock()
	defer m.mu.RUnlock()
	return m.durable, m.durableBefore
}

// Pending is how much of what was applied is in memory and not in the file yet, in bytes, about.
func (m *Machine) Pending() int {
	m.mu.RLock()
	defer m.mu.RUnlock()
	total := 0
	for _, p := range []*pending{m.growing, m.flushing} {
		if p != nil {
			p.mu.RLock()
			total += p.bytes
			p.mu.RUnlock()
		}
	}
	return total
}

func signal(c chan struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}

func errClosed() error { return core.Errorf(core.CodeUnavailable, "the store is closed") }
