package recovery

import (
	"context"
	"fmt"
	"time"

	"github.com/instarhq/instar/core"
	"github.com/instarhq/instar/core/state"
)

// batchBytes keeps the transactions of an approval well under the store's limit.
const batchBytes = core.MaxTxnBytes / 2

// Approve makes the restored state agree with what agents have found, and lets agents and control act
// on it. It can be repeated: CodeConflict says that there is nothing to approve (any more). meta's
// request id is that of the last of its transactions, which approves.
func Approve(ctx context.Context, s *state.State, meta core.Meta, opts core.ApproveRequest, now func() time.Time) (core.Receipt, error) {
	prepare := meta
	prepare.RequestID, prepare.Verb = "", "recovery.prepare"
	for more := true; more; {
		_, err := s.Update(ctx, prepare, func(tx *state.Tx) error {
			if err := admissible(tx, opts); err != nil {
				return err
			}
			more = agree(tx, now())
			return nil
		})
		if err != nil && !answeredBefore(ctx, s, meta, err) {
			return core.Receipt{}, err
		}
		if err != nil {
			break
		}
	}
	return s.Update(ctx, meta, func(tx *state.Tx) error {
		if err := admissible(tx, opts); err != nil {
			return err
		}
		if agree(tx, now()) {
			return core.Errorf(core.CodeUnavailable, "what runs has changed while the recovery was approved").
				WithHint("approve again")
		}
		r, _ := state.Recoveries.Get(tx, core.RecoveryObject)
		r.Approved, r.By, r.DestroyUnknown = now().UTC().Round(0), meta.Principal, opts.DestroyUnknown
		state.Recoveries.Put(tx, core.RecoveryObject, r)
		return nil
	})
}

// answeredBefore reports whether an approval is repeated that has been answered: there is nothing to
// prepare then, and the last transaction gives the first receipt.
func answeredBefore(_ context.Context, s *state.State, meta core.Meta, err error) bool {
	r, ok := state.Recoveries.Get(s.View(), core.RecoveryObject)
	return meta.RequestID != "" && core.CodeOf(err) == core.CodeConflict && (!ok || !r.Approved.IsZero())
}

func admissible(r state.Reader, opts core.ApproveRequest) error {
	recovery, ok := state.Recoveries.Get(r, core.RecoveryObject)
	if !ok {
		return core.Errorf(core.CodeConflict, "there is no recovery to approve").
			WithHint("one begins with a restore: instar snapshot restore")
	}
	if !recovery.Approved.IsZero() {
		return core.Errorf(core.CodeConflict, "the recovery has been approved by %s at %s", recovery.By, recovery.Approved.Format(time.RFC3339))
	}
	if opts.Missing {
		return nil
	}
	if silent := Silent(r); len(silent) > 0 {
		e := core.Errorf(core.CodeUnavailable, "%s has not said yet what it has: %s", plural(len(silent), "target"), silent[0]).
			WithHint("wait for it, or approve with -missing: what the state has there is then replaced elsewhere")
		e.RetryAfter = 2 * time.Second
		return e
	}
	return nil
}

// agree writes into tx what makes the state agree with the findings, as far as it fits, and reports
// whether there is more.
func agree(tx *state.Tx, now time.Time) (more bool) {
	now = now.UTC().Round(0)
	adopted := map[string]core.Finding{}
	for _, f := range state.Findings.All(tx) {
		switch f.Class {
		case core.ClassAdopt:
			adopted[f.Instance] = f
		case core.ClassDrifted:
			// One that the state does not know is taken in to be lost below: so it goes the ordinary way.
			if tx.Size() > batchBytes {
				return true
			}
			takeIn(tx, &f, now)
		case core.ClassExcess:
			if tx.Size() > batchBytes {
				return true
			}
			if takeIn(tx, &f, now) {
				adopted[f.Instance] = f
			}
		}
	}
	for id, inst := range state.Instances.All(tx) {
		if tx.Size() > batchBytes {
			return true
		}
		status, _ := state.InstanceStatuses.Get(tx, id)
		if status.Phase.Over() {
			continue
		}
		if f, ok := adopted[id]; ok {
			confirm(tx, status, &f)
		} else if inst.Desired == core.DesiredRun && status.Phase >= core.InstanceRunning {
			lose(tx, status, now)
		}
	}
	return false
}

// takeIn makes a record of an instance that the state does not have. It is taken for one that has
// served, so that it goes the way of those that have, should it be one too many.
func takeIn(tx *state.Tx, f *core.Finding, now time.Time) bool {
	if _, known := state.Instances.Get(tx, f.Instance); known {
		return true
	}
	number, ok := revisionOf(tx, f.Service, f.Revision)
	if !ok {
		return false
	}
	state.Instances.Put(tx, f.Instance, core.Instance{
		Format: core.Format, ID: f.Instance, Service: f.Service, Revision: number,
		Node: f.Node, Driver: f.Driver, Target: f.Target, Desired: core.DesiredRun, Created: now,
	})
	status := core.InstanceStatus{
		Format: core.Format, ID: f.Instance, Service: f.Service, Node: f.Node, Phase: core.InstanceRunning,
		Verified: true, Addresses: f.Addresses, Fingerprint: f.Fingerprint, Updated: now,
	}
	setHealth(&status, f, now)
	state.InstanceStatuses.Put(tx, f.Instance, status)
	return true
}

// confirm corrects the status of an instance that is there: it may have become healthy, and served,
// after the snapshot was taken.
func confirm(tx *state.Tx, status core.InstanceStatus, f *core.Finding) {
	if status.Phase < core.InstanceRunning || status.Phase >= core.InstanceDestroying {
		return // its agent finds out, by asking for it again
	}
	next := status
	next.Verified = true
	if next.Addresses = f.Addresses; f.Addresses == nil {
		next.Addresses = status.Addresses
	}
	setHealth(&next, f, status.Updated)
	if !equal(&status, &next) {
		state.InstanceStatuses.Put(tx, status.ID, next)
	}
}

func setHealth(s *core.InstanceStatus, f *core.Finding, since time.Time) {
	switch {
	case f.Unhealthy != "":
		s.Healthy, s.HealthySince, s.Unhealthy = false, time.Time{}, f.Unhealthy
	case !s.Healthy:
		s.Healthy, s.HealthySince, s.Unhealthy = true, since, ""
	}
}

// lose notes that an instance is not there, so that another takes its place. Should its node come back
// with it, it is destroyed there.
func lose(tx *state.Tx, status core.InstanceStatus, now time.Time) {
	status.Phase, status.Healthy, status.HealthySince, status.Updated = core.InstanceLost, false, time.Time{}, now
	status.Failure = &core.Failure{Message: "not found after the restore, or not as it was"}
	state.InstanceStatuses.Put(tx, status.ID, status)
}

func plural(n int, what string) string {
	if n == 1 {
		return "1 " + what
	}
	return fmt.Sprintf("%d %ss", n, what)
}
