package agent

import (
	"context"
	"errors"
	"slices"
	"time"

	"github.com/instarhq/instar/core"
	"github.com/instarhq/instar/core/agent/health"
	"github.com/instarhq/instar/core/agent/report"
	"github.com/instarhq/instar/core/recovery"
	"github.com/instarhq/instar/core/state"
	"github.com/instarhq/instar/sdk"
)

// lookEvery is how often drivers are asked what they have while a recovery waits for its approval.
const lookEvery = 5 * time.Second

// look only looks, for as long as a recovery has not been approved: it reports what this node's drivers
// have, and changes nothing.
func (a *Agent) look(ctx context.Context, watch *state.Watch) error {
	ticker := time.NewTicker(lookEvery)
	defer ticker.Stop()
	for again := true; ; {
		view := a.cfg.State.View()
		if !recovery.Looking(view) {
			return nil
		}
		if again {
			targets := a.cfg.Host.Targets()
			a.publishDrivers()
			a.publishNode(targets)
			for _, t := range targets {
				if t.Kind == core.DriverCompute && t.Scope == core.ScopeNode {
					a.lookAt(ctx, view, recovery.Target{Node: a.cfg.Node, Driver: t.Driver, Name: t.Name})
				}
			}
		}
		again = true
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-watch.Changed():
			watch.Take()
			again = false // our own findings among others; only the approval matters here
		case <-a.cfg.Host.Changed():
		case <-ticker.C:
		}
	}
}

// lookAt reports what one target has. A target that cannot be asked stays without a finding.
func (a *Agent) lookAt(ctx context.Context, view *state.View, at recovery.Target) {
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	listed, err := a.list(ctx, at)
	if err != nil {
		a.log.Warn("cannot find out what runs, trying again", "driver", at.Driver, "target", at.Name, "error", err)
		return
	}
	seen := make([]recovery.Listed, 0, len(listed))
	for i := range listed {
		seen = append(seen, a.listed(ctx, view, &listed[i]))
	}
	findings := recovery.Classify(view, a.cfg.Cluster, at, seen)
	findings = append(findings, core.Finding{
		Format: core.Format, Node: at.Node, Driver: at.Driver, Target: at.Name, Class: core.ClassListed,
	})
	a.reportFindings(view, at, findings)
}

func (a *Agent) list(ctx context.Context, at recovery.Target) ([]sdk.Instance, error) {
	driver, err := a.cfg.Host.Compute(at.Driver, at.Name)
	if err != nil {
		return nil, err
	}
	return driver.List(ctx, a.cfg.Cluster)
}

// listed is an instance with what one probe of its health checks says.
func (a *Agent) listed(ctx context.Context, view *state.View, inst *sdk.Instance) recovery.Listed {
	l := recovery.Listed{
		ID: inst.ID, Cluster: inst.Cluster, Service: inst.Service, Revision: core.Digest(inst.RevisionDigest),
		Generation: inst.Generation, Running: inst.State == sdk.StateRunning,
		Fingerprint: inst.Fingerprint, Addresses: inst.Addresses, Hollow: inst.Fingerprint == sdk.FingerprintLost,
	}
	if !l.Running {
		l.Ended = exitMessage(inst.Exit)
		return l
	}
	for _, r := range state.Revisions.By(view, state.ByService, inst.Service) {
		if r.Digest == l.Revision {
			l.Unhealthy = probeOnce(ctx, r.Spec.Health, inst.Addresses)
			break
		}
	}
	return l
}

// probeOnce gives the failure of the first check that fails, or nothing.
func probeOnce(ctx context.Context, checks []core.HealthCheck, addresses map[string]string) string {
	for _, check := range checks {
		prober, err := health.NewProber(check, addresses)
		if err == nil {
			err = prober(ctx)
		}
		if err != nil {
			return err.Error()
		}
	}
	return ""
}

// reportFindings writes the findings of a target that are new and takes back those that no longer hold.
func (a *Agent) reportFindings(view *state.View, at recovery.Target, findings []core.Finding) {
	have := map[string]bool{}
	for _, f := range findings {
		id := core.FindingID(f.Node, f.Driver, f.Target, f.Instance)
		have[id] = true
		old, known := state.Findings.Get(view, id)
		f.Found = old.Found
		if known && string(jsonOf(old)) == string(jsonOf(f)) {
			continue
		}
		f.Found = time.Now().UTC()
		a.reporter.Report(report.Observation{
			Kind: core.KindFinding, ID: id, Size: len(jsonOf(f)),
			Write: func(tx *state.Tx) {
				if recovery.Looking(tx) {
					state.Findings.Put(tx, id, f)
				}
			},
		})
	}
	for id, f := range state.Findings.By(view, state.ByNode, a.cfg.Node) {
		if f.Driver == at.Driver && f.Target == at.Name && !have[id] {
			a.retract(core.KindFinding, id, func(tx *state.Tx) { state.Findings.Delete(tx, id) })
		}
	}
}

// endUnknown destroys what the restored state knows nothing of, if that was asked for and no route can
// send to it any more.
func (a *Agent) endUnknown(ctx context.Context) {
	view := a.cfg.State.View()
	r, ok := state.Recoveries.Get(view, core.RecoveryObject)
	if !ok || !r.DestroyUnknown || r.Moved.IsZero() {
		return
	}
	for id, f := range state.Findings.By(view, state.ByNode, a.cfg.Node) {
		if f.Class != core.ClassUnknown || !a.begin(id) {
			continue
		}
		a.group.Go(func() {
			defer a.end(id)
			a.destroyUnknown(ctx, id, &f)
		})
	}
}

func (a *Agent) destroyUnknown(ctx context.Context, id string, f *core.Finding) {
	retry := backoff{first: time.Second, last: 30 * time.Second}
	for {
		driver, err := a.cfg.Host.Compute(f.Driver, f.Target)
		if err == nil {
			a.log.Warn("destroying an instance that the restored state does not know", "instance", f.Instance, "service", f.Service)
			err = driver.Destroy(ctx, f.Instance, orphanGrace)
		}
		if err == nil {
			a.retract(core.KindFinding, id, func(tx *state.Tx) { state.Findings.Delete(tx, id) })
			return
		}
		if !errors.Is(err, context.Canceled) {
			a.log.Warn("cannot destroy it, trying again", "instance", f.Instance, "error", err)
		}
		if !retry.wait(ctx, err) {
			return
		}
	}
}

// begin claims the work on a finding; false if it is under way.
func (a *Agent) begin(id string) bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	if slices.Contains(a.ending, id) {
		return false
	}
	a.ending = append(a.ending, id)
	return true
}

func (a *Agent) end(id string) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.ending = slices.DeleteFunc(a.ending, func(other string) bool { return other == id })
}

// stale reports whether a route is as a restore has brought it back: control has not judged it anew yet,
// and a data plane may have a newer one.
func stale(view *state.View, generation uint64) bool {
	floor := recovery.Floor(view)
	return floor > 0 && generation <= floor
}
