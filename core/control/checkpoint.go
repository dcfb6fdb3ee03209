package control

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"sort"
	"time"

	"github.com/instarhq/instar/core"
	"github.com/instarhq/instar/core/state"
)

// History reads what was, in the local replica.
type History interface {
	core.Reader
	Record(ctx context.Context, seq uint64) (core.Record, error)
}

// CreateCheckpoint gives a point of the log a name; the zero Point is now. A checkpoint is never moved:
// a name that exists is CodeConflict.
func (o *Operations) CreateCheckpoint(ctx context.Context, meta core.Meta, name string, at core.Point) (core.Receipt, error) {
	if err := core.CheckName("checkpoint", name); err != nil {
		return core.Receipt{}, err
	}
	if at == (core.Point{}) {
		at.Seq = o.state.View().Seq()
	}
	seq, when, err := o.locate(ctx, at)
	if err != nil {
		return core.Receipt{}, err
	}
	return o.state.Update(ctx, meta, func(tx *state.Tx) error {
		if old, exists := state.Checkpoints.Get(tx, name); exists {
			return core.Errorf(core.CodeConflict, "checkpoint %q exists: it is record %d", name, old.Seq).WithObject(core.KindCheckpoint, name)
		}
		state.Checkpoints.Put(tx, name, core.Checkpoint{
			Format: core.Format, Name: name, Seq: seq, Time: when, Created: o.now().UTC().Round(0), By: meta.Principal, Reason: meta.Reason,
		})
		return nil
	})
}

// DeleteCheckpoint forgets a name; the log keeps all that it pointed at.
func (o *Operations) DeleteCheckpoint(ctx context.Context, meta core.Meta, name string) (core.Receipt, error) {
	return o.state.Update(ctx, meta, func(tx *state.Tx) error {
		if _, err := state.Checkpoints.Find(tx, name); err != nil {
			return err
		}
		state.Checkpoints.Delete(tx, name)
		return nil
	})
}

// PlanReturn says what going back to a point would do. It writes nothing.
func (o *Operations) PlanReturn(ctx context.Context, to core.Point) (core.Return, error) {
	seq, set, err := o.setAt(ctx, to)
	if err != nil {
		return core.Return{}, err
	}
	view := o.state.View()
	plan := core.Plan{}
	for i := range set.Services {
		sp, err := o.planService(view, &set.Services[i])
		if err != nil {
			return core.Return{}, err
		}
		plan.Services = append(plan.Services, sp)
	}
	if err := checkSet(view, set, &plan); err != nil {
		return core.Return{}, err
	}
	return core.Return{Applied: core.Applied{Plan: &plan}, Seq: seq, Newer: newerThan(view, set)}, nil
}

// Return makes all services what they were at a point: the revision that had the traffic then, and the
// count, with what was deleted since. It is one transaction and begins ordinary rollouts, to
// revisions that are pinned, so nothing is resolved anew. Services that did not exist then stay, or
// are deleted after it, each in a transaction of its own.
func (o *Operations) Return(ctx context.Context, meta core.Meta, to core.Point, deleteNewer bool) (core.Return, error) {
	seq, set, err := o.setAt(ctx, to)
	if err != nil {
		return core.Return{}, err
	}
	applied, err := o.applySet(ctx, meta, set, nil, "back to "+pointText(to))
	if err != nil {
		return core.Return{}, err
	}
	out := core.Return{Applied: applied, Seq: seq, Newer: newerThan(o.state.View(), set)}
	if !deleteNewer {
		return out, nil
	}
	for _, name := range out.Newer {
		each := meta
		if each.RequestID != "" {
			each.RequestID += "/" + name
		}
		if _, err := o.Delete(ctx, each, name); err != nil {
			return out, fmt.Errorf("service %q, which is newer than %s: %w", name, pointText(to), err)
		}
	}
	return out, nil
}

func pointText(p core.Point) string {
	switch {
	case p.Checkpoint != "":
		return "checkpoint " + p.Checkpoint
	case p.Seq != 0:
		return fmt.Sprintf("record %d", p.Seq)
	}
	return p.Time.UTC().Format(time.RFC3339Nano)
}

// newerThan lists the services that set does not have.
func newerThan(r state.Reader, set core.Set) []string {
	var out []string
	for name, service := range state.Services.All(r) {
		if !service.Deleting && !slices.ContainsFunc(set.Services, func(d core.Declared) bool { return d.Name == name }) {
			out = append(out, name)
		}
	}
	return out
}

// locate finds the record that a point is, and its time.
func (o *Operations) locate(ctx context.Context, p core.Point) (uint64, time.Time, error) {
	if o.history == nil {
		return 0, time.Time{}, core.Errorf(core.CodeUnsupported, "this node keeps no history")
	}
	set := 0
	for _, given := range []bool{p.Checkpoint != "", p.Seq != 0, !p.Time.IsZero()} {
		if given {
			set++
		}
	}
	if set != 1 {
		return 0, time.Time{}, core.Errorf(core.CodeInvalid, "a point is a checkpoint's name, a record's number, or a time: exactly one of them")
	}
	if p.Checkpoint != "" {
		c, err := state.Checkpoints.Find(o.state.View(), p.Checkpoint)
		if err != nil {
			return 0, time.Time{}, withHint(err, "`instar checkpoint list` shows those there are")
		}
		return c.Seq, c.Time, nil
	}
	if p.Seq != 0 {
		if head := o.history.Seq(); p.Seq > head {
			return 0, time.Time{}, core.Errorf(core.CodeNotFound, "there is no record %d yet: the newest is %d", p.Seq, head)
		}
		record, err := o.history.Record(ctx, p.Seq)
		return p.Seq, record.Txn.Meta.Time, err
	}
	seq, err := o.seqAt(ctx, p.Time)
	if err != nil {
		return 0, time.Time{}, err
	}
	return seq, p.Time, nil
}

// seqAt finds the newest record that is not after a time: times in the log never go back.
func (o *Operations) seqAt(ctx context.Context, at time.Time) (uint64, error) {
	var failed error
	head := o.history.Seq()
	after := sort.Search(int(head), func(i int) bool {
		record, err := o.history.Record(ctx, uint64(i)+1)
		if err != nil {
			failed = err
		}
		return record.Txn.Meta.Time.After(at)
	})
	if failed != nil {
		return 0, fmt.Errorf("find the record of %s: %w", at.Format(time.RFC3339), failed)
	}
	if after == 0 {
		return 0, core.Errorf(core.CodeNotFound, "%s is before the first record of this cluster", at.Format(time.RFC3339))
	}
	return uint64(after), nil
}

func withHint(err error, format string, args ...any) error {
	if e, ok := core.AsError(err); ok {
		return e.WithHint(format, args...)
	}
	return err
}

// setAt declares all services as they were at a point.
func (o *Operations) setAt(ctx context.Context, p core.Point) (seq uint64, set core.Set, err error) {
	if seq, _, err = o.locate(ctx, p); err != nil {
		return 0, set, err
	}
	services, err := o.history.List(ctx, core.KindService, "", seq)
	if err != nil {
		return 0, set, fmt.Errorf("services as of record %d: %w", seq, err)
	}
	configs := map[string]bool{}
	for i := range services {
		var service core.Service
		if err := json.Unmarshal(services[i].Value, &service); err != nil {
			return 0, set, core.Errorf(core.CodeCorrupt, "service %q as of record %d: %w", services[i].ID, seq, err)
		}
		revision := service.Active
		if service.Deleting || revision == 0 {
			continue // it served nothing then
		}
		declared, err := o.declaredAt(ctx, &service, revision, seq)
		if err != nil {
			return 0, set, err
		}
		set.Services = append(set.Services, declared)
		for _, m := range declared.Spec.Mounts {
			id := core.ConfigID(m.Config, m.Digest)
			if configs[id] {
				continue
			}
			configs[id] = true
			config, err := valueAt[core.Config](ctx, o.history, core.KindConfig, id, seq)
			if err != nil {
				return 0, set, err
			}
			set.Configs = append(set.Configs, config)
		}
	}
	return seq, set, nil
}

func (o *Operations) declaredAt(ctx context.Context, service *core.Service, number int, seq uint64) (core.Declared, error) {
	revision, err := valueAt[core.Revision](ctx, o.history, core.KindRevision, core.RevisionID(service.Name, number), seq)
	return core.Declared{Name: service.Name, Count: service.Count, Spec: revision.Spec}, err
}

func valueAt[T any](ctx context.Context, h History, kind core.Kind, id string, seq uint64) (T, error) {
	var value T
	object, err := h.Get(ctx, kind, id, seq)
	if err != nil {
		return value, fmt.Errorf("%s %q as of record %d: %w", kind, id, seq, err)
	}
	if err := json.Unmarshal(object.Value, &value); err != nil {
		return value, core.Errorf(core.CodeCorrupt, "%s %q as of record %d: %w", kind, id, seq, err)
	}
	return value, nil
}
