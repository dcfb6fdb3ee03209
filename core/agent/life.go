package agent

import (
	"context"
	"sync"
	"time"

	"github.com/hashicorp/go-hclog"

	"github.com/instarhq/instar/core"
	"github.com/instarhq/instar/core/agent/health"
	"github.com/instarhq/instar/core/agent/report"
	"github.com/instarhq/instar/core/state"
	"github.com/instarhq/instar/sdk"
)

// slowAfter is how long a step may take before it is reported as a phase of its own.
const slowAfter = time.Second

// life looks after one instance of this node, from the record in the store to nothing left at the
// backend. Its own goroutine does one thing after the other; news reach it through see, miss, want and
// the verdict of the health checks.
type life struct {
	id      string
	agent   *Agent
	compute *compute
	log     hclog.Logger
	wake    chan struct{} // readable after news

	tenure context.Context // in which this node acts on the instance's target
	// wantedCtx ends when the instance is to be destroyed, droppedCtx when the store has forgotten it.
	wantedCtx, droppedCtx context.Context
	unwant, drop          context.CancelFunc

	mu      sync.Mutex
	inst    core.Instance
	status  core.InstanceStatus
	seen    *sdk.Instance   // news from the driver, not judged yet
	missing bool            // the driver seems not to know it
	verdict *health.Verdict // news from the checks
}

func newLife(ctx context.Context, a *Agent, c *compute, inst core.Instance, status core.InstanceStatus) *life {
	l := &life{
		id: inst.ID, agent: a, compute: c, log: c.log.With("instance", inst.ID),
		wake: make(chan struct{}, 1), inst: inst, status: status, tenure: ctx,
	}
	l.droppedCtx, l.drop = context.WithCancel(ctx)
	l.wantedCtx, l.unwant = context.WithCancel(l.droppedCtx)
	l.status.Format, l.status.ID = core.Format, inst.ID
	l.status.Service, l.status.Node = inst.Service, inst.Node
	if l.status.Phase == 0 {
		l.status.Phase = core.InstancePlaced
	}
	l.want(inst)
	return l
}

// run is the story of an instance. It returns when nothing is left to do for it, or ctx ends.
func (l *life) run() {
	if l.phase() < core.InstanceRunning {
		l.create(l.wantedCtx)
	}
	if l.serving() {
		l.serve(l.wantedCtx)
	}
	<-l.wantedCtx.Done()
	if l.instance().Desired == core.DesiredDestroy {
		l.destroy(l.droppedCtx)
	}
}

// stop frees what newLife made.
func (l *life) stop() { l.unwant(); l.drop() }

// want takes what the store wants now.
func (l *life) want(inst core.Instance) {
	l.mu.Lock()
	l.inst = inst
	l.mu.Unlock()
	if inst.Desired == core.DesiredDestroy {
		l.unwant()
	}
}

// see takes what the driver says of the instance.
func (l *life) see(inst sdk.Instance) {
	l.mu.Lock()
	if inst.State == sdk.StateDestroyed {
		l.missing = true
	} else {
		l.seen = &inst
	}
	l.mu.Unlock()
	l.signal()
}

// miss notes that the driver seems not to know the instance.
func (l *life) miss() {
	l.mu.Lock()
	l.missing = true
	l.mu.Unlock()
	l.signal()
}

func (l *life) judge(v health.Verdict) {
	l.mu.Lock()
	l.verdict = &v
	l.mu.Unlock()
	l.signal()
}

func (l *life) signal() {
	select {
	case l.wake <- struct{}{}:
	default:
	}
}

func (l *life) instance() core.Instance {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.inst
}

func (l *life) phase() core.InstancePhase {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.status.Phase
}

// serving reports whether the driver has made the instance and nothing has ended it since.
func (l *life) serving() bool {
	p := l.phase()
	return p >= core.InstanceRunning && p < core.InstanceDestroying
}

// advance changes the status and reports it. Phases only grow: a change that would take the instance
// back comes too late and is dropped.
func (l *life) advance(phase core.InstancePhase, change func(*core.InstanceStatus)) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if phase < l.status.Phase {
		return
	}
	l.status.Phase = phase
	l.status.Updated = time.Now().UTC()
	if change != nil {
		change(&l.status)
	}
	if phase > core.InstanceCreating {
		l.status.Fetch = nil
	}
	if phase >= core.InstanceDestroying {
		l.status.Healthy, l.status.HealthySince = false, time.Time{}
	}
	l.report(l.status)
}

// fetching reports how far the instance's artifact is. That it is there is said by the next report.
func (l *life) fetching(f *core.Fetch) {
	if f == nil {
		l.mu.Lock()
		l.status.Fetch = nil
		l.mu.Unlock()
		return
	}
	l.advance(core.InstanceCreating, func(s *core.InstanceStatus) { s.Fetch = f })
}

// report queues the status; it is written if the store still has the instance by then.
func (l *life) report(status core.InstanceStatus) {
	size := 512
	if status.Failure != nil {
		size += len(jsonOf(status.Failure))
	}
	l.agent.reporter.Report(report.Observation{
		Kind: core.KindInstanceStatus, ID: l.id, Size: size,
		Write: func(tx *state.Tx) {
			if l.compute.shared && l.tenure.Err() != nil {
				return // another node may act for it by now
			}
			if inst, ok := state.Instances.Get(tx, l.id); ok && inst.Node == status.Node {
				state.InstanceStatuses.Put(tx, l.id, status)
			}
		},
	})
}

// slowly reports a phase if what is done meanwhile takes longer than slowAfter; the returned function
// ends that.
func (l *life) slowly(phase core.InstancePhase) func() bool {
	return time.AfterFunc(slowAfter, func() { l.advance(phase, nil) }).Stop
}
