package daemon

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"time"

	"golang.org/x/mod/sumdb/note"

	"github.com/instarhq/instar/core"
	"github.com/instarhq/instar/core/audit"
	"github.com/instarhq/instar/core/recovery"
	"github.com/instarhq/instar/core/snapshot"
	"github.com/instarhq/instar/core/state"
	"github.com/instarhq/instar/raftstore"
)

const (
	// scratchDir is where snapshots are put together and tried out.
	scratchDir = "tmp"
	// freshFor is how long a snapshot waits to have everything that was committed before it was asked for.
	// Without a leader it has what this node has: the moment when it is needed most.
	freshFor = 5 * time.Second
	// shortestEvery bounds how often scheduled snapshots are made.
	shortestEvery = 10 * time.Second
)

// snapshots implements api.Snapshots.
type snapshots struct {
	daemon *Daemon
	keeper *snapshot.Keeper
	own    string // this node's public key
}

func (d *Daemon) startSnapshots(context.Context) error {
	if err := os.RemoveAll(d.dir.file(scratchDir)); err != nil { // what a crash has left
		return fmt.Errorf("scratch directory: %w", err)
	}
	signer, public, err := d.signer()
	if err != nil {
		return err
	}
	s := &snapshots{daemon: d, own: public}
	s.keeper = &snapshot.Keeper{
		Maker: snapshot.Maker{
			State: s, Artifacts: d.artifacts, Signers: []note.Signer{signer}, Keys: []string{public},
			TempDir: d.dir.file(scratchDir), Manifest: s.manifest, Now: time.Now,
		},
		Scratch: tryOut, Logger: d.log,
	}
	d.snapshots = s
	d.background("scheduled snapshots", func(ctx context.Context) error {
		return d.store.Lead(ctx, func(ctx context.Context) error {
			return snapshot.NewScheduler(s.keeper, d.state, d.store.ClusterName(), d.log).Run(ctx)
		})
	})
	d.background("recovery", func(ctx context.Context) error {
		return d.store.Lead(ctx, func(ctx context.Context) error {
			return recovery.NewController(recovery.ControllerConfig{State: d.state, Logger: d.log}).Run(ctx)
		})
	})
	return nil
}

// signer is this node's key for checkpoints, exports and snapshots.
func (d *Daemon) signer() (note.Signer, string, error) {
	secret, public, err := d.dir.signer(d.store.ClusterName(), d.cfg.Node)
	if err != nil {
		return nil, "", err
	}
	signer, err := note.NewSigner(secret)
	if err != nil {
		return nil, "", fmt.Errorf("signing key %s: %w", d.dir.file("signer.key"), err)
	}
	return signer, public, nil
}

// Snapshot implements snapshot.State.
func (s *snapshots) Snapshot(ctx context.Context, w io.Writer) (core.TreeHead, error) {
	fresh, cancel := context.WithTimeout(ctx, freshFor)
	defer cancel()
	if err := s.daemon.current(fresh); err != nil {
		s.daemon.log.Warn("a snapshot may lack the newest records: no leader has confirmed that this node has them", "error", err)
	}
	info, err := s.daemon.store.Snapshot(ctx, w)
	return info.Head, err
}

func (s *snapshots) manifest() core.Manifest {
	d := s.daemon
	m := core.Manifest{
		Cluster: d.store.ClusterName(), ClusterID: d.store.ClusterID(), Generation: d.store.Generation(),
		Node: d.cfg.Node, Version: d.cfg.Version, Level: d.cfg.level(),
	}
	if c, ok := state.Clusters.Get(d.state.View(), core.ClusterObject); ok {
		m.Level = c.Level
	}
	return m
}

// Write implements api.Snapshots.
func (s *snapshots) Write(ctx context.Context, w io.Writer, withArtifacts bool) error {
	_, err := s.keeper.Maker.Write(ctx, w, withArtifacts, nil)
	return err
}

// Save implements api.Snapshots.
func (s *snapshots) Save(ctx context.Context, address string, withArtifacts bool) (core.SnapshotFile, core.Manifest, error) {
	return s.keeper.Save(ctx, address, withArtifacts, nil)
}

// List implements api.Snapshots.
func (s *snapshots) List(ctx context.Context, address string, all bool) ([]core.SnapshotFile, error) {
	return s.keeper.List(ctx, address, s.cluster(all))
}

func (s *snapshots) cluster(all bool) string {
	if all {
		return ""
	}
	return s.daemon.store.ClusterName()
}

// Prune implements api.Snapshots.
func (s *snapshots) Prune(ctx context.Context, address string, keep int, keepFor time.Duration) ([]core.SnapshotFile, error) {
	return s.keeper.Prune(ctx, address, s.cluster(false), keep, keepFor)
}

// trust are the keys of the nodes that the cluster knows, and those that are given.
func (s *snapshots) trust(given []string) (audit.Trust, error) {
	known := map[string]bool{s.own: true}
	for _, node := range state.Nodes.All(s.daemon.state.View()) {
		known[node.Key] = true
	}
	for _, key := range given {
		known[key] = true
	}
	delete(known, "")
	var texts []string
	for key := range known {
		texts = append(texts, key)
	}
	keys, err := audit.Verifiers(texts...)
	return audit.Trust{Keys: keys}, err
}

// Verify implements api.Snapshots.
func (s *snapshots) Verify(ctx context.Context, address string, keys []string, deep bool) (core.SnapshotReport, error) {
	trust, err := s.trust(keys)
	if err != nil {
		return core.SnapshotReport{}, err
	}
	file, err := snapshot.OpenFile(ctx, address)
	if err != nil {
		return core.SnapshotReport{}, err
	}
	defer func() { _ = file.Close() }() // only read
	report, err := s.keeper.Verify(ctx, file, trust, deep)
	report.File = address
	return report, err
}

// Drill implements api.Snapshots.
func (s *snapshots) Drill(ctx context.Context, address string, keys []string) (core.SnapshotReport, error) {
	trust, err := s.trust(keys)
	if err != nil {
		return core.SnapshotReport{}, err
	}
	file, report, err := s.keeper.Drill(ctx, address, s.cluster(false), trust)
	report.File = file.Name
	return report, err
}

// Schedule implements api.Snapshots.
func (s *snapshots) Schedule(ctx context.Context, meta core.Meta, want core.Schedule) (core.Receipt, error) {
	if err := core.CheckName("schedule", want.Name); err != nil {
		return core.Receipt{}, err
	}
	if want.Every.Std() < shortestEvery {
		return core.Receipt{}, core.Errorf(core.CodeInvalid, "schedule %q: every %s is too often, at least %s is needed", want.Name, want.Every, shortestEvery)
	}
	if want.Keep < 0 || want.KeepFor < 0 {
		return core.Receipt{}, core.Errorf(core.CodeInvalid, "schedule %q: what is kept cannot be negative", want.Name)
	}
	if err := snapshot.CheckAddress(want.URL); err != nil {
		return core.Receipt{}, err
	}
	return s.daemon.state.Update(ctx, meta, func(tx *state.Tx) error {
		old, _ := state.Schedules.Get(tx, want.Name)
		want.Format, want.Last, want.Failing = core.Format, old.Last, nil
		state.Schedules.Put(tx, want.Name, want)
		return nil
	})
}

// Unschedule implements api.Snapshots.
func (s *snapshots) Unschedule(ctx context.Context, meta core.Meta, name string) (core.Receipt, error) {
	return s.daemon.state.Update(ctx, meta, func(tx *state.Tx) error {
		if _, err := state.Schedules.Find(tx, name); err != nil {
			return err
		}
		state.Schedules.Delete(tx, name)
		return nil
	})
}

// tryOut implements snapshot.Scratch: a store of its own is begun and restored, as on an empty machine.
func tryOut(ctx context.Context, dir string, file io.Reader) (services int, head core.TreeHead, err error) {
	store, err := raftstore.Open(ctx, raftstore.Config{Dir: dir, Node: "drill"})
	if err != nil {
		return 0, head, err
	}
	defer func() { err = errors.Join(err, store.Close()) }()
	receipt, err := store.Restore(ctx, file, core.Meta{Principal: "drill", Verb: "snapshot.drill"})
	if err != nil {
		return 0, head, err
	}
	object, err := store.Get(ctx, core.KindLineage, receipt.Origin, 0)
	if err != nil {
		return 0, head, err
	}
	var lineage core.Lineage
	if err := json.Unmarshal(object.Value, &lineage); err != nil {
		return 0, head, fmt.Errorf("drill: %w", err)
	}
	objects, err := store.List(ctx, core.KindService, "", 0)
	return len(objects), lineage.Previous, err
}
