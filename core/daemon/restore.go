package daemon

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"github.com/instarhq/instar/core"
	"github.com/instarhq/instar/core/audit"
	"github.com/instarhq/instar/core/cluster"
	"github.com/instarhq/instar/core/snapshot"
	"github.com/instarhq/instar/core/snapshot/container"
)

// A restore that is to happen when the store is opened is staged in restoreDir: the file, checked, and
// then the request, whose presence says that both are there.
const (
	restoreDir     = "restore"
	restoreFile    = "snapshot.instar"
	restoreRequest = "request.json"
)

// staged is the request of a staged restore.
type staged struct {
	Format    int           `json:"format"`
	Rebuild   bool          `json:"rebuild,omitempty"`
	Principal string        `json:"principal"`
	Reason    string        `json:"reason,omitempty"`
	RequestID string        `json:"request_id,omitempty"`
	Manifest  core.Manifest `json:"manifest"`
}

// Stage prepares a data directory so that the next start restores the snapshot at an address into it. The
// directory must have no state yet. Nothing else is touched.
func Stage(ctx context.Context, dataDir, address string, meta core.Meta, rebuild bool) (core.Manifest, error) {
	dir, err := openDataDir(dataDir, true)
	if err != nil {
		return core.Manifest{}, err
	}
	defer func() { _ = dir.close() }()
	file, err := snapshot.OpenFile(ctx, address)
	if err != nil {
		return core.Manifest{}, err
	}
	defer func() { _ = file.Close() }() // only read
	request, err := dir.stage(file, meta, rebuild)
	if err != nil {
		return core.Manifest{}, err
	}
	return request.Manifest, nil
}

// stage keeps a snapshot file that verifies.
func (d *dataDir) stage(file io.Reader, meta core.Meta, rebuild bool) (*staged, error) {
	if _, err := os.Stat(filepath.Join(d.file("store"), "state.db")); err == nil {
		return nil, core.Errorf(core.CodeConflict, "%s has a state already", d.path).
			WithHint("a running cluster is restored by its leader: instar snapshot restore; a machine that begins anew needs an empty data directory")
	}
	if err := os.MkdirAll(d.file(restoreDir), 0o700); err != nil {
		return nil, fmt.Errorf("restore: %w", err)
	}
	path := filepath.Join(d.file(restoreDir), restoreFile)
	manifest, err := receive(path, file)
	if err != nil {
		return nil, err
	}
	request := &staged{
		Format: core.Format, Rebuild: rebuild, Principal: meta.Principal, Reason: meta.Reason, RequestID: meta.RequestID, Manifest: manifest,
	}
	data, err := json.MarshalIndent(request, "", "  ")
	if err != nil {
		return nil, fmt.Errorf("restore: %w", err)
	}
	return request, d.replace(filepath.Join(restoreDir, restoreRequest), append(data, '\n'), 0o600)
}

// receive keeps a snapshot file under path and reads it whole.
func receive(path string, from io.Reader) (core.Manifest, error) {
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE|os.O_TRUNC, 0o600)
	if err != nil {
		return core.Manifest{}, fmt.Errorf("restore: %w", err)
	}
	_, err = io.Copy(f, from)
	if err == nil {
		err = f.Sync()
	}
	if err == nil {
		_, err = f.Seek(0, io.SeekStart)
	}
	if err != nil {
		return core.Manifest{}, errors.Join(fmt.Errorf("restore: %w", err), f.Close())
	}
	r, err := container.Open(f, audit.Trust{})
	if err != nil {
		return core.Manifest{}, errors.Join(err, f.Close())
	}
	defer r.Close()
	err = r.Verify()
	return r.Manifest, errors.Join(err, f.Close())
}

// pending reads the staged request; nil if there is none.
func (d *dataDir) pending() (*staged, error) {
	path := filepath.Join(d.file(restoreDir), restoreRequest)
	data, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("restore: %w", err)
	}
	var request staged
	if err := json.Unmarshal(data, &request); err != nil || request.Format != core.Format {
		return nil, core.Errorf(core.CodeCorrupt, "%s does not decode", path).WithHint("remove %s and restore again", filepath.Dir(path))
	}
	return &request, nil
}

// restoreStaged restores what is staged into the store that has just been begun. It can be repeated: what
// a crash has cut short is done again, unless it was done.
func (d *Daemon) restoreStaged(ctx context.Context) error {
	request, err := d.dir.pending()
	if err != nil || request == nil {
		return err
	}
	dir := d.dir.file(restoreDir)
	meta := core.Meta{
		Principal: request.Principal, Verb: "snapshot.restore", Reason: request.Reason, RequestID: request.RequestID,
	}
	if d.store.ClusterID() != request.Manifest.ClusterID || d.store.Generation() <= request.Manifest.Generation {
		file, err := os.Open(filepath.Join(dir, restoreFile))
		if err != nil {
			return fmt.Errorf("restore: %w", err)
		}
		defer func() { _ = file.Close() }() // only read
		if err := d.dir.keepArtifacts(file); err != nil {
			return fmt.Errorf("restore %s: %w", dir, err)
		}
		receipt, err := d.restoreFrom(ctx, meta, file, request.Rebuild)
		if err != nil {
			return fmt.Errorf("restore %s: %w", dir, err)
		}
		if d.member != nil {
			d.member.restored <- receipt
		}
		d.log.Info("restored from a snapshot; nothing is touched before the recovery is approved", "origin", receipt.Origin, "record", receipt.Seq,
			"records", request.Manifest.Head.Size, "rebuild", request.Rebuild)
	}
	if err := d.afterRestore(ctx); err != nil {
		return err
	}
	return os.RemoveAll(dir)
}

// restoreFrom restores a snapshot file that has been checked.
func (d *Daemon) restoreFrom(ctx context.Context, meta core.Meta, file io.Reader, rebuild bool) (core.Receipt, error) {
	r, err := container.Open(file, audit.Trust{})
	if err != nil {
		return core.Receipt{}, err
	}
	defer r.Close()
	content, err := r.State()
	if err != nil {
		return core.Receipt{}, err
	}
	value, err := json.Marshal(core.Recovery{Format: core.Format, Since: time.Now().UTC().Round(0), Rebuild: rebuild})
	if err != nil {
		return core.Receipt{}, fmt.Errorf("restore: %w", err)
	}
	return d.store.Restore(ctx, content, meta, core.Op{Kind: core.KindRecovery, ID: core.RecoveryObject, Value: value, IfSeq: core.AnySeq})
}

// afterRestore makes this node the only member of the cluster that it has brought back: what the others
// have, if they have anything, is another history.
func (d *Daemon) afterRestore(ctx context.Context) error {
	if d.member == nil {
		return nil
	}
	phase := cluster.PhaseRecovered
	if _, err := d.store.Get(ctx, core.KindCluster, core.ClusterObject, 0); core.IsNotFound(err) {
		phase = cluster.PhaseFounding // the snapshot is of a node that was a cluster of its own
	} else if err != nil {
		return err
	}
	m := d.member
	m.mu.Lock()
	defer m.mu.Unlock()
	m.record = &cluster.Record{
		Phase: phase, Node: d.cfg.Node, Name: d.store.ClusterName(), ID: d.store.ClusterID(), Role: core.RoleVoter,
		Peers: map[string]string{d.cfg.Node: m.address},
	}
	return m.record.Save(d.cfg.DataDir)
}

// Restore implements api.Snapshots: a running cluster goes back to a snapshot.
func (s *snapshots) Restore(ctx context.Context, meta core.Meta, file io.Reader, rebuild bool) (core.Receipt, error) {
	d := s.daemon
	if !d.store.IsLeader() {
		return core.Receipt{}, core.Errorf(core.CodeUnsupported, "node %q does not lead; a running cluster is restored by its leader, %q", d.cfg.Node, d.store.Leader()).
			WithHint("run the same command against %s", d.store.Leader())
	}
	if err := os.MkdirAll(d.dir.file(scratchDir), 0o700); err != nil {
		return core.Receipt{}, fmt.Errorf("restore: %w", err)
	}
	f, err := os.CreateTemp(d.dir.file(scratchDir), "restore-*")
	if err != nil {
		return core.Receipt{}, fmt.Errorf("restore: %w", err)
	}
	defer func() { _ = os.Remove(f.Name()) }()
	defer func() { _ = f.Close() }() // only read from, by then
	if _, err := receive(f.Name(), file); err != nil {
		return core.Receipt{}, err
	}
	if err := d.dir.keepArtifacts(f); err != nil {
		return core.Receipt{}, err
	}
	receipt, err := d.restoreFrom(ctx, meta, f, rebuild)
	if err != nil {
		return receipt, err
	}
	return receipt, d.artifacts.load()
}

// RestoreFrom implements api.Snapshots.
func (s *snapshots) RestoreFrom(ctx context.Context, meta core.Meta, address string, rebuild bool) (core.Receipt, error) {
	file, err := snapshot.OpenFile(ctx, address)
	if err != nil {
		return core.Receipt{}, err
	}
	defer func() { _ = file.Close() }() // only read
	return s.Restore(ctx, meta, file, rebuild)
}

// restore begins a cluster anew from a snapshot, on a node that is no member of one.
func (s *setup) restore(ctx context.Context, meta core.Meta, file io.Reader, from string, rebuild bool) (core.Receipt, error) {
	if from != "" {
		opened, err := snapshot.OpenFile(ctx, from)
		if err != nil {
			return core.Receipt{}, err
		}
		defer func() { _ = opened.Close() }() // only read
		file = opened
	}
	m := s.daemon.member
	record := &cluster.Record{Phase: cluster.PhaseFounding, Node: s.daemon.cfg.Node}
	err := m.choose(record, func() error {
		request, err := s.daemon.dir.stage(file, meta, rebuild)
		if err != nil {
			return err
		}
		if name := s.daemon.cfg.Cluster; name != "" && name != request.Manifest.Cluster {
			return errors.Join(core.Errorf(core.CodeInvalid, "the snapshot is of cluster %q, the configuration names %q", request.Manifest.Cluster, name),
				os.RemoveAll(s.daemon.dir.file(restoreDir)))
		}
		record.Name = request.Manifest.Cluster
		return nil
	})
	if err != nil {
		return core.Receipt{}, err
	}
	s.chosen <- record
	select {
	case receipt := <-m.restored:
		return receipt, nil
	case <-ctx.Done():
		return core.Receipt{}, ctx.Err()
	case <-s.daemon.ctx.Done():
		return core.Receipt{}, core.Errorf(core.CodeUnavailable, "instard ends: %w", context.Cause(s.daemon.ctx))
	}
}
