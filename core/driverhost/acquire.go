package driverhost

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"github.com/instarhq/instar/core"
	"github.com/instarhq/instar/sdk/launch"
)

// record is process.json: how to attach to the target's process again. Next is there only while an upgrade
// is under way: it may already have taken over what Current held.
type record struct {
	Format  int       `json:"format"`
	Current *launched `json:"current"`
	Next    *launched `json:"next,omitempty"`
}

type launched struct {
	launch.State
	Path   string      `json:"path"`
	Digest core.Digest `json:"digest"`
}

func (s *session) launched() *launched {
	return &launched{State: s.proc.State(), Path: s.path, Digest: s.digest}
}

func (t *target) recordPath() string { return filepath.Join(t.dir, "process.json") }

// readRecord reads process.json. A damaged one counts as none: the sweep finds the processes by themselves.
func (t *target) readRecord() record {
	var r record
	err := readJSON(t.recordPath(), &r)
	if errors.Is(err, fs.ErrNotExist) {
		return record{}
	}
	if err == nil && r.Format != core.Format {
		err = fmt.Errorf("%s is in format %d, this instar reads format %d", t.recordPath(), r.Format, core.Format)
	}
	if err != nil {
		t.log.Error("cannot attach to what ran before; launching afresh", "error", err)
		return record{}
	}
	return r
}

func (t *target) writeRecord(current, next *launched) error {
	return writeJSON(t.recordPath(), record{Format: core.Format, Current: current, Next: next})
}

// forget clears what an ended process has left.
func (t *target) forget() error {
	if err := os.Remove(t.recordPath()); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return t.sweep("")
}

// acquire attaches to the target's process or launches one. In any case no other process of the target is
// left when it returns.
func (t *target) acquire(ctx context.Context) (*session, error) {
	s := t.reattach(ctx, t.readRecord())
	keep := ""
	if s != nil {
		keep = s.proc.State().Dir
	}
	if err := t.sweep(keep); err != nil {
		t.log.Error("clearing what earlier processes left", "error", err)
	}
	if s != nil {
		return s, t.writeRecord(s.launched(), nil)
	}
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	s, err := t.launch(ctx)
	if err != nil {
		return nil, err
	}
	if err := t.writeRecord(s.launched(), nil); err != nil {
		return nil, errors.Join(err, s.stop())
	}
	return s, nil
}

// reattach attaches to what the record names; nil if there is nothing to attach to. If an upgrade was under
// way, the new process is taken if it can be configured.
func (t *target) reattach(ctx context.Context, r record) *session {
	if s := t.attach(ctx, r.Next); s != nil {
		config, _ := t.wanted()
		err := s.configure(ctx, t.request(config))
		if err == nil {
			return s
		}
		t.log.Error("an upgrade was under way, but the new process fails", "error", err)
		s.leave() // the sweep ends it
	}
	return t.attach(ctx, r.Current)
}

func (t *target) attach(ctx context.Context, l *launched) *session {
	if l == nil {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, t.host.timing.attach)
	defer cancel()
	proc, err := launch.Attach(ctx, l.State, t.log.Named("plugin"))
	if errors.Is(err, launch.ErrGone) {
		return nil
	}
	if err == nil {
		var s *session
		if s, err = newSession(ctx, t, proc, l.Path, l.Digest); err == nil {
			t.log.Info("attached to the running driver", "pid", l.PID)
			return s
		}
		proc.Detach()
	}
	t.log.Error("the running driver cannot be attached to; it will be replaced", "pid", l.PID, "error", err)
	return nil
}

// sweep ends every process of the target but the one with the given launch directory, and removes what they
// left. This finds also those that were launched by a daemon that died before it wrote process.json.
func (t *target) sweep(keep string) error {
	entries, err := os.ReadDir(t.launchRoot())
	if err != nil {
		return err
	}
	var errs []error
	for _, e := range entries {
		dir := filepath.Join(t.launchRoot(), e.Name())
		if dir == keep {
			continue
		}
		lost, err := launch.FindByDir(dir)
		errs = append(errs, err)
		for _, state := range lost {
			t.log.Warn("ending a driver process that nobody supervises", "pid", state.PID)
			ctx, cancel := context.WithTimeout(context.Background(), t.host.timing.stop/3)
			errs = append(errs, launch.Terminate(ctx, state))
			cancel()
		}
		errs = append(errs, os.RemoveAll(dir))
	}
	return errors.Join(errs...)
}

// launch starts a process from the binary on disk, if the lock file knows it.
func (t *target) launch(ctx context.Context) (*session, error) {
	img, err := t.host.accepted(t.key.kind, t.key.driver)
	if err != nil {
		return nil, err
	}
	return t.launchImage(ctx, img)
}

func (t *target) launchImage(ctx context.Context, img image) (*session, error) {
	dir, err := newLaunchDir(t.launchRoot())
	if err != nil {
		return nil, err
	}
	proc, err := launch.Start(ctx, launch.Options{
		Path: img.path, Dir: dir, SocketDir: t.host.sockets, Log: filepath.Join(t.dir, "log"),
		Env: launch.Environment(t.host.cfg.Logger.GetLevel()), Timeout: t.host.timing.handshake, Logger: t.log.Named("plugin"),
	})
	if err != nil {
		return nil, errors.Join(err, os.RemoveAll(dir))
	}
	err = img.runs(proc.State().PID)
	var s *session
	if err == nil {
		s, err = newSession(ctx, t, proc, img.path, img.digest)
	}
	if err != nil {
		end, cancel := context.WithTimeout(context.Background(), time.Second)
		defer cancel()
		return nil, errors.Join(fmt.Errorf("%s: %w", filepath.Base(img.path), err), proc.Stop(end), os.RemoveAll(dir))
	}
	t.count(&t.launches)
	t.log.Info("launched", "pid", proc.State().PID, "version", s.desc.Version, "digest", img.digest.Short())
	return s, nil
}

// newLaunchDir names a launch directory that never existed before: the name is what a lost process is
// found by.
func newLaunchDir(root string) (string, error) {
	var id [8]byte
	if _, err := rand.Read(id[:]); err != nil {
		return "", fmt.Errorf("name of a launch directory: %w", err)
	}
	dir := filepath.Join(root, hex.EncodeToString(id[:]))
	return dir, os.Mkdir(dir, 0o700)
}

// tearDown ends the target's process, whoever launched it. The supervision has ended before.
func (t *target) tearDown(ctx context.Context) error {
	r := t.readRecord()
	if r.Current != nil {
		t.log.Info("ending the driver", "pid", r.Current.PID)
	}
	var errs []error
	for _, l := range []*launched{r.Next, r.Current} {
		if l == nil {
			continue
		}
		if err := launch.Terminate(ctx, l.State); err != nil {
			errs = append(errs, fmt.Errorf("%s: %w", t.key, err))
		}
		_ = os.Remove(l.Socket) // left only by a process that had to be killed
	}
	return errors.Join(append(errs, t.forget())...)
}
