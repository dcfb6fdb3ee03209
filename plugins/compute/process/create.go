package process

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"syscall"
	"time"

	"github.com/instarhq/instar/plugins/compute/process/artifact"
	"github.com/instarhq/instar/plugins/compute/process/launch"
	"github.com/instarhq/instar/plugins/durable"
	"github.com/instarhq/instar/sdk"
)

// launchFor is how long a launcher of an earlier life of the driver is waited for.
const launchFor = 30 * time.Second

// crash is called between the steps of Create and Destroy; tests end the process there.
var crash = func(string) {}

// Create implements sdk.Compute.
func (d *Driver) Create(ctx context.Context, spec sdk.InstanceSpec) (sdk.Instance, error) {
	t, err := d.bound()
	if err != nil {
		return sdk.Instance{}, err
	}
	if err := checkID(spec.ID); err != nil {
		return sdk.Instance{}, err
	}
	ctx, done, err := t.begin(ctx)
	if err != nil {
		return sdk.Instance{}, err
	}
	defer done()
	var cfg workloadConfig
	if err := cfg.read(spec.Config); err != nil {
		return sdk.Instance{}, err
	}
	if _, err := t.find(spec.ID); err != nil && !t.isBuried(spec.ID) {
		// This may take long; neither Destroy nor Prune should have to wait for it.
		if _, err := t.tree(ctx, spec.Artifact); err != nil {
			return sdk.Instance{}, err
		}
	}
	unlock, err := t.work.Lock(ctx, spec.ID)
	if err != nil {
		return sdk.Instance{}, err
	}
	defer unlock()
	i, err := t.create(ctx, spec, cfg)
	if err != nil {
		return sdk.Instance{}, durable.Explain(err, t.dir)
	}
	return newInspector(t).look(i)
}

// create is Create with the instance's work lock: it finds the instance, or makes its record, and starts
// it unless it was started before.
func (t *target) create(ctx context.Context, spec sdk.InstanceSpec, cfg workloadConfig) (*instance, error) {
	if t.isBuried(spec.ID) {
		return nil, sdk.Conflict("instance %s was destroyed; a new one needs a new id", spec.ID)
	}
	i, err := t.find(spec.ID)
	if err != nil {
		if i, err = t.record(ctx, spec, cfg); err != nil {
			return nil, err
		}
	} else if err := t.resume(ctx, i, spec, cfg); err != nil {
		return nil, err
	}
	crash("recorded")
	if err := t.start(ctx, i, spec); err != nil {
		return nil, err
	}
	crash("started")
	return i, nil
}

// resume checks an instance that is there already, and brings one that was never started back to where
// it can be.
func (t *target) resume(ctx context.Context, i *instance, spec sdk.InstanceSpec, cfg workloadConfig) error {
	if i.rec.RevisionDigest != spec.RevisionDigest {
		return sdk.Conflict("instance %s exists with revision %s, not %s", spec.ID, i.rec.RevisionDigest, spec.RevisionDigest)
	}
	if i.rec.Found {
		return errLost(spec.ID)
	}
	if err := t.settle(ctx, i); err != nil {
		return err
	}
	if state, _ := i.status(); state != sdk.StateCreating {
		return nil
	}
	// Nothing has run in it, and a crash of the machine may have taken part of it.
	tree, err := t.tree(ctx, spec.Artifact)
	if err != nil {
		return err
	}
	if tree.Name != i.rec.Tree {
		if err := t.remove(ctx, i); err != nil {
			return err
		}
		return sdk.Unavailable(0, "instance %s: its artifact was changed on the disk before it was started, and has been unpacked anew", spec.ID)
	}
	if err := durable.RemoveTree(i.root()); err != nil {
		return err
	}
	if _, err := t.fill(i.dir, i.rec.Plan, spec, cfg, tree); err != nil {
		return err
	}
	return i.group.Create(limitsOf(spec))
}

// start launches an instance that was not started yet. An instance that does not come to run leaves
// nothing, so that the same Create can be tried again.
func (t *target) start(ctx context.Context, i *instance, spec sdk.InstanceSpec) error {
	for {
		if state, _ := i.status(); state != sdk.StateCreating {
			return nil
		}
		id, err := launch.Start(i.dir)
		crash("launched")
		if err == nil {
			return t.follow(i, id)
		}
		if errors.Is(err, launch.ErrStarted) {
			// By a launcher that has outlived an earlier driver; what it did is found by settle.
			if err := t.settle(ctx, i); err != nil {
				return err
			}
			if state, _ := i.status(); state == sdk.StateCreating {
				continue // it gave up
			}
			return nil
		}
		var failure *launch.StageError
		if !errors.As(err, &failure) {
			return err // whether it runs is not known; the record stays, and the next call finds out
		}
		explained := explainStart(i, spec, failure)
		if err := t.remove(context.WithoutCancel(ctx), i); err != nil {
			return errors.Join(explained, fmt.Errorf("and what was prepared cannot be removed: %w", err))
		}
		return explained
	}
}

// record decides everything about an instance and writes it down.
func (t *target) record(ctx context.Context, spec sdk.InstanceSpec, cfg workloadConfig) (_ *instance, err error) {
	rec, err := t.decide(spec, cfg)
	if err != nil {
		return nil, err
	}
	defer func() {
		if err != nil {
			t.giveBack(rec)
		}
	}()
	t.inUse.RLock()
	defer t.inUse.RUnlock()
	tree, err := t.tree(ctx, spec.Artifact)
	if err != nil {
		return nil, err
	}
	rec.Digest, rec.Tree, rec.TreeSum = spec.Artifact.Digest, tree.Name, tree.Sum
	i := t.newInstance(rec)
	if err := i.group.Create(limitsOf(spec)); err != nil {
		return nil, err
	}
	i.rec.Limits = i.group.Settings()
	if err := t.build(i, spec, cfg, tree); err != nil {
		return nil, errors.Join(err, i.group.Remove(ctx))
	}
	t.add(i)
	return i, nil
}

// build fills the instance's directory under another name; the rename makes it an instance.
func (t *target) build(i *instance, spec sdk.InstanceSpec, cfg workloadConfig, tree artifact.Tree) (err error) {
	tmp := t.instanceDir(newPrefix + i.rec.ID)
	if err := durable.RemoveTree(tmp); err != nil {
		return err
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, durable.RemoveTree(tmp))
		}
	}()
	if err := makeDir(tmp, 0o711); err != nil {
		return err
	}
	if i.rec.Mounts, err = t.fill(tmp, i.rec.Plan, spec, cfg, tree); err != nil {
		return err
	}
	if err := t.plan(i, tmp, spec, cfg, tree); err != nil {
		return err
	}
	crash("filled")
	if err := durable.WriteJSON(filepath.Join(tmp, launch.PlanFile), i.rec); err != nil {
		return err
	}
	if err := durable.Rename(tmp, i.dir); err != nil {
		return err
	}
	return t.logs.Add(i.rec.ID, i.dir, i.rec.LogBytes)
}

// makeDir makes a directory with exactly the given permissions, whatever the umask is.
func makeDir(path string, mode os.FileMode) error {
	if err := os.Mkdir(path, mode.Perm()); err != nil {
		return err
	}
	return os.Chmod(path, mode)
}

// giveBack returns what decide has taken.
func (t *target) giveBack(rec record) {
	t.ports.Release(rec.ID, rec.Ports)
	if rec.OwnUser {
		t.users.release(rec.ID, *rec.Plan.UID)
	}
}

// explainStart turns a launcher's failure into an error at the attribute that caused it.
func explainStart(i *instance, spec sdk.InstanceSpec, f *launch.StageError) error {
	explained := durable.Explain(f, i.dir)
	if sdk.CodeOf(explained) == sdk.CodeUnavailable {
		return explained
	}
	switch f.Step {
	case launch.StepExec:
		return sdk.InvalidConfig("command", "%s", diagnose(i.rec.Plan, f.Errno))
	case launch.StepDir:
		return sdk.InvalidConfig("working_dir", "%w", f)
	case launch.StepUser:
		return sdk.InvalidConfig("user", "%w", f)
	case launch.StepGroup:
		if errors.Is(f, syscall.EBUSY) || errors.Is(f, syscall.ENOMEM) {
			return sdk.InvalidConfig("resources.memory", "%d bytes are not enough to start in: %w", spec.Resources.Memory, f)
		}
	}
	return f
}
