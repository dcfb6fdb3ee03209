package haproxy

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/instarhq/instar/plugins/traffic/haproxy/layout"
	"github.com/instarhq/instar/sdk"
)

// store is the state on disk and in memory. Who changes it holds a lock that other processes respect: at
// an upgrade of the driver, two run side by side for a moment.
type store struct {
	turn    chan struct{} // held by whoever changes something in this process
	current atomic.Pointer[layout.State]
	prior   atomic.Pointer[layout.State] // what current was before
	token   string                       // of this process, or rather of this store

	// Under turn.
	dir  string
	file *os.File // its lock is the other processes' turn
	seen fs.FileInfo
}

func newStore() *store {
	s := &store{turn: make(chan struct{}, 1), token: rand.Text()}
	fresh := layout.New()
	s.current.Store(&fresh)
	s.prior.Store(&fresh)
	return s
}

// state is what holds now. It must not be changed.
func (s *store) state() layout.State { return *s.current.Load() }

// before is what held before the newest change. It must not be changed.
func (s *store) before() layout.State { return *s.prior.Load() }

// open binds the store to a directory and locks it.
func (s *store) open(ctx context.Context, dir string) (unlock func(), err error) {
	if err := s.take(ctx); err != nil {
		return nil, err
	}
	if s.file == nil {
		file, err := os.OpenFile(filepath.Join(dir, "lock"), os.O_CREATE|os.O_RDWR, 0o600)
		if err != nil {
			<-s.turn
			return nil, sdk.Unavailable(time.Second, "cannot use the state directory: %w", err)
		}
		s.dir, s.file = dir, file
	}
	if s.dir != dir {
		<-s.turn
		return nil, sdk.Conflict("this process serves %s and cannot be configured for %s", s.dir, dir)
	}
	return s.locked(ctx)
}

func (s *store) take(ctx context.Context) error {
	select {
	case s.turn <- struct{}{}:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// lock waits for the right to change something, and learns what another process has changed.
func (s *store) lock(ctx context.Context) (unlock func(), err error) {
	if err := s.take(ctx); err != nil {
		return nil, err
	}
	return s.locked(ctx)
}

func (s *store) locked(ctx context.Context) (unlock func(), err error) {
	defer func() {
		if err != nil {
			<-s.turn
		}
	}()
	if s.file == nil {
		return nil, sdk.Unavailable(0, "this process is ending")
	}
	if err := flock(ctx, s.file); err != nil {
		return nil, err
	}
	if err := s.refresh(); err != nil {
		_ = syscall.Flock(int(s.file.Fd()), syscall.LOCK_UN)
		return nil, sdk.Unavailable(time.Second, "the state cannot be read: %w", err)
	}
	return func() {
		_ = syscall.Flock(int(s.file.Fd()), syscall.LOCK_UN) // closing would do it, too
		<-s.turn
	}, nil
}

// flock waits for the lock of a file. It polls: the kernel's wait could not be cancelled.
func flock(ctx context.Context, file *os.File) error {
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for {
		err := syscall.Flock(int(file.Fd()), syscall.LOCK_EX|syscall.LOCK_NB)
		if err == nil {
			return nil
		}
		if !errors.Is(err, syscall.EWOULDBLOCK) && !errors.Is(err, syscall.EINTR) {
			return fmt.Errorf("lock %s: %w", file.Name(), err)
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// refresh reads the state file if it is not the one that is known.
func (s *store) refresh() error {
	info, err := os.Stat(filepath.Join(s.dir, layout.StateFile))
	if errors.Is(err, fs.ErrNotExist) && s.seen == nil {
		return nil
	}
	if err == nil && s.seen != nil && os.SameFile(info, s.seen) && info.ModTime().Equal(s.seen.ModTime()) {
		return nil
	}
	state, err := layout.Load(s.dir)
	if err != nil {
		return err
	}
	s.current.Store(&state)
	s.seen = info
	return nil
}

// own makes this process the one in charge.
func (s *store) own() error {
	state := s.state()
	mine := layout.Owner{PID: os.Getpid(), Token: s.token}
	if state.Owner == mine {
		return nil
	}
	state.Owner = mine
	return s.save(state)
}

// disown ends that, if it is so.
func (s *store) disown() error {
	state := s.state()
	if state.Owner.Token != s.token {
		return nil
	}
	state.Owner = layout.Owner{}
	return s.save(state)
}

// superseded says that another process was configured for this directory since, and lives. Two with different
// configurations, or of different versions, would take turns in changing HAProxy.
func (s *store) superseded() bool {
	owner := s.state().Owner
	if owner.Token == "" || owner.Token == s.token {
		return false
	}
	return !errors.Is(syscall.Kill(owner.PID, 0), syscall.ESRCH)
}

// save makes next the state, on disk and here.
func (s *store) save(next layout.State) error {
	if err := layout.Save(s.dir, next); err != nil {
		return sdk.Unavailable(time.Second, "the state cannot be saved in %s, so nothing was changed: %w", s.dir, err)
	}
	s.seen, _ = os.Stat(filepath.Join(s.dir, layout.StateFile)) // nil only makes the next lock read it again
	s.prior.Store(s.current.Load())
	s.current.Store(&next)
	return nil
}

// close ends the use of the store.
func (s *store) close() error {
	s.turn <- struct{}{}
	defer func() { <-s.turn }()
	if s.file == nil {
		return nil
	}
	err := s.file.Close()
	s.file = nil
	return err
}
