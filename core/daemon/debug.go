package daemon

import (
	"context"
	"errors"
	"io"
	"os"
	"runtime"
	"runtime/pprof"
	"time"

	"github.com/prometheus/common/expfmt"
	"golang.org/x/sys/unix"

	"github.com/instarhq/instar/core"
	"github.com/instarhq/instar/core/state"
	"github.com/instarhq/instar/core/telemetry/bundle"
)

const (
	// auditTail is how many of the newest records' metadata are in a bundle.
	auditTail = 500
	// driverLogTail is how much of each driver's log is, in bytes.
	driverLogTail = 256 << 10
)

// writeDebug writes this node's diagnostics.
func (d *Daemon) writeDebug(ctx context.Context, w io.Writer) error {
	view := d.state.View()
	schema := schemasOf(view)
	record, err := d.dir.readRecord()
	if err != nil {
		return err
	}
	now := time.Now().UTC()
	b := bundle.New(w, "instar-debug-"+d.cfg.Node+"-"+now.Format("20060102T150405Z"), now, bundle.NewRedactor(d.secrets(view, record, schema)))
	b.JSON("version.json", func() (any, error) { return d.debugVersion(now), nil })
	b.JSON("config.json", func() (any, error) { return d.debugConfig(record, schema), nil })
	b.JSON("store.json", func() (any, error) { return d.store.Stats(), nil })
	b.JSON("members.json", func() (any, error) { return d.store.Members(ctx) })
	if d.member != nil {
		b.JSON("cluster.json", func() (any, error) { return d.member.cluster.Status(ctx) })
	}
	d.debugState(b, view, schema)
	b.JSON("drivers.json", func() (any, error) { return d.host.Figures(), nil })
	b.JSON("disk.json", d.debugDisk)
	b.JSON("audit.json", func() (any, error) { return d.debugAudit(ctx) })
	b.Text("metrics.txt", d.debugMetrics)
	if d.cfg.LogTail != nil {
		b.Text("logs/instard.log", func(w io.Writer) error { _, err := d.cfg.LogTail.WriteTo(w); return err })
	}
	for _, t := range d.host.Figures() {
		b.Text("logs/"+string(t.Kind)+"-"+t.Driver+"-"+t.Name+".log", func(w io.Writer) error { return tailOf(w, t.Log, driverLogTail) })
	}
	b.Text("goroutines.txt", func(w io.Writer) error { return pprof.Lookup("goroutine").WriteTo(w, 2) })
	b.Binary("heap.pprof", func(w io.Writer) error { return pprof.Lookup("heap").WriteTo(w, 0) })
	return b.Close()
}

func (d *Daemon) debugVersion(now time.Time) any {
	return map[string]any{
		"node": d.cfg.Node, "version": d.cfg.Version, "go": runtime.Version(), "platform": runtime.GOOS + "/" + runtime.GOARCH,
		"origin": d.store.Origin(), "time": now, "processors": runtime.GOMAXPROCS(0), "pid": os.Getpid(),
		"level": d.cfg.level(), "ready": d.waits() == "", "waiting": d.waits(),
	}
}

// debugConfig is the configuration that the daemon runs with, the targets' secrets masked.
func (d *Daemon) debugConfig(record *nodeRecord, schema bundle.Schema) any {
	c := d.cfg
	targets := make([]targetRecord, len(record.Targets))
	for i, t := range record.Targets {
		attributes, _ := schema(t.Kind, t.Driver)
		t.Config = bundle.Values(t.Config, attributes)
		targets[i] = t
	}
	return map[string]any{
		"data_dir": c.DataDir, "node": c.Node, "cluster": c.Cluster, "labels": c.Labels, "plugin_dirs": c.PluginDirs, "dev": c.AutoLock,
		"socket": c.Socket, "listen": c.Listen, "metrics": c.Metrics, "membership": c.Membership, "targets": targets,
	}
}

// schemasOf gives the schema of a driver's configurations, as any node has published it: of its workloads, and
// of its targets, as far as their names are different.
func schemasOf(view *state.View) bundle.Schema {
	type key struct {
		kind core.DriverKind
		name string
	}
	all := map[key][]core.Attribute{}
	for _, driver := range state.Drivers.All(view) {
		k := key{driver.Kind, driver.Name}
		all[k] = append(append(all[k], driver.Workload...), driver.Target...)
	}
	return func(kind core.DriverKind, driver string) ([]core.Attribute, bool) {
		attributes, known := all[key{kind, driver}]
		return attributes, known
	}
}

// secrets are what no part of a bundle may have.
func (d *Daemon) secrets(view *state.View, record *nodeRecord, schema bundle.Schema) (secrets []string) {
	for _, r := range state.Revisions.All(view) {
		secrets = append(secrets, bundle.SpecSecrets(&r.Spec, schema)...)
	}
	for _, t := range record.Targets {
		attributes, _ := schema(t.Kind, t.Driver)
		secrets = append(secrets, bundle.Secrets(t.Config, attributes)...)
	}
	return secrets
}

// debugState adds the objects of the state, without what instances wrote and what configs have in them.
func (d *Daemon) debugState(b *bundle.Bundle, view *state.View, schema bundle.Schema) {
	b.JSON("state/services.json", listed(view, state.Services, nil))
	b.JSON("state/revisions.json", listed(view, state.Revisions, func(r core.Revision) core.Revision {
		r.Spec = bundle.Spec(r.Spec, schema)
		return r
	}))
	b.JSON("state/rollouts.json", listed(view, state.Rollouts, func(r core.Rollout) core.Rollout {
		r.Failure = withoutLogs(r.Failure)
		return r
	}))
	b.JSON("state/instances.json", listed(view, state.Instances, nil))
	b.JSON("state/instance_statuses.json", listed(view, state.InstanceStatuses, func(s core.InstanceStatus) core.InstanceStatus {
		s.Failure = withoutLogs(s.Failure)
		return s
	}))
	b.JSON("state/routes.json", listed(view, state.Routes, func(r core.Route) core.Route {
		attributes, _ := schema(core.DriverTraffic, r.Spec.Driver)
		r.Spec.Config = bundle.Values(r.Spec.Config, attributes)
		return r
	}))
	b.JSON("state/route_statuses.json", listed(view, state.RouteStatuses, nil))
	b.JSON("state/checks.json", listed(view, state.Checks, nil))
	b.JSON("state/nodes.json", listed(view, state.Nodes, nil))
	b.JSON("state/node_statuses.json", listed(view, state.NodeStatuses, nil))
	b.JSON("state/members.json", listed(view, state.Members, nil))
	b.JSON("state/leases.json", listed(view, state.Leases, nil))
	b.JSON("state/schedules.json", listed(view, state.Schedules, nil))
	b.JSON("state/recovery.json", listed(view, state.Recoveries, nil))
	b.JSON("state/findings.json", listed(view, state.Findings, nil))
}

// listed gives a table's objects by id.
func listed[T any](view *state.View, table state.Table[T], mask func(T) T) func() (any, error) {
	return func() (any, error) {
		out := map[string]T{}
		for id, v := range table.All(view) {
			if mask != nil {
				v = mask(v)
			}
			out[id] = v
		}
		return out, nil
	}
}

// withoutLogs is a failure without what the instance wrote.
func withoutLogs(f *core.Failure) *core.Failure {
	if f == nil {
		return nil
	}
	return &core.Failure{Message: f.Message, Permanent: f.Permanent}
}

// auditEntry is a record without what it wrote.
type auditEntry struct {
	Seq  uint64    `json:"seq"`
	Meta core.Meta `json:"meta"`
	Ops  []auditOp `json:"ops"`
}

type auditOp struct {
	Kind   core.Kind `json:"kind"`
	ID     string    `json:"id"`
	Delete bool      `json:"delete,omitempty"`
	Bytes  int       `json:"bytes,omitempty"`
}

func (d *Daemon) debugAudit(ctx context.Context) (any, error) {
	newest := d.store.Seq()
	out := []auditEntry{}
	for seq := newest - min(newest, auditTail) + 1; seq <= newest; seq++ {
		rec, err := d.store.Record(ctx, seq)
		if err != nil {
			return out, err
		}
		entry := auditEntry{Seq: rec.Seq, Meta: rec.Txn.Meta}
		for _, op := range rec.Txn.Ops {
			entry.Ops = append(entry.Ops, auditOp{Kind: op.Kind, ID: op.ID, Delete: op.Delete, Bytes: len(op.Value)})
		}
		out = append(out, entry)
	}
	return out, nil
}

func (d *Daemon) debugMetrics(w io.Writer) error {
	families, err := d.telemetry.Gatherer().Gather()
	for _, family := range families {
		_, writeErr := expfmt.MetricFamilyToText(w, family)
		err = errors.Join(err, writeErr)
	}
	return err
}

// debugDisk says how much room there is where the data are.
func (d *Daemon) debugDisk() (any, error) {
	var fs unix.Statfs_t
	if err := unix.Statfs(d.cfg.DataDir, &fs); err != nil {
		return nil, err
	}
	size := uint64(fs.Bsize)
	return map[string]any{
		"path": d.cfg.DataDir, "bytes": fs.Blocks * size, "free_bytes": fs.Bavail * size, "inodes": fs.Files, "free_inodes": fs.Ffree,
	}, nil
}

// tailOf writes the end of a file; one that is not there has none.
func tailOf(w io.Writer, path string, most int64) error {
	file, err := os.Open(path)
	if errors.Is(err, os.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	defer func() { _ = file.Close() }() // only read
	info, err := file.Stat()
	if err != nil {
		return err
	}
	if info.Size() > most {
		if _, err := file.Seek(-most, io.SeekEnd); err != nil {
			return err
		}
	}
	_, err = io.Copy(w, io.LimitReader(file, most))
	return err
}
