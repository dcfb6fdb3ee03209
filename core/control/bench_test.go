package control_test

import (
	"context"
	"fmt"
	"syscall"
	"testing"
	"time"

	"github.com/instarhq/instar/core"
	"github.com/instarhq/instar/core/control"
	"github.com/instarhq/instar/core/coretest"
	"github.com/instarhq/instar/core/state"
)

// BenchmarkReplace replaces a whole service by a new revision, with agents that report at once and in
// batches. The time per instance must not grow with the number of instances.
func BenchmarkReplace(b *testing.B) {
	for _, n := range []int{100, 1000, 10000} {
		for _, routes := range []bool{false, true} {
			if routes && n > 4000 {
				continue // more than a route can list
			}
			b.Run(fmt.Sprintf("instances=%d/routes=%t", n, routes), func(b *testing.B) {
				w := newQuickWorld(b)
				declared := func(v int) core.Declared {
					d := version("web", v, n)
					d.Spec.Rollout.Bake, d.Spec.Rollout.KeepPrevious = 0, 0
					if !routes {
						d.Spec.Routes = nil
					}
					return d
				}
				w.deploy(b, declared(0), n)
				seq, begin := w.state.View().Seq(), cpu(b)
				b.ResetTimer()
				for i := range b.N {
					w.deploy(b, declared(i+1), n)
				}
				b.StopTimer()
				b.ReportMetric(float64((cpu(b)-begin).Microseconds())/float64(b.N*n), "cpu-µs/instance")
				b.ReportMetric(float64(b.Elapsed().Microseconds())/float64(b.N*n), "µs/instance")
				b.ReportMetric(float64(w.state.View().Seq()-seq)/float64(b.N), "records")
			})
		}
	}
}

// cpu is the CPU time of the process so far: unlike the time on the wall it does not depend on what
// else the machine does.
func cpu(b *testing.B) time.Duration {
	b.Helper()
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		b.Fatal(err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

// quickWorld is a cluster whose instances run and are healthy as soon as they are known.
type quickWorld struct {
	ctx   context.Context
	state *state.State
	ops   *control.Operations
}

func newQuickWorld(b *testing.B) *quickWorld {
	b.Helper()
	w := &quickWorld{ctx: b.Context()}
	w.state = state.New(coretest.NewStore())
	w.ops = control.NewOperations(control.OperationsConfig{State: w.state, Resolver: &world{}})
	go func() { _ = w.state.Run(w.ctx) }()
	if err := w.state.Ready(w.ctx); err != nil {
		b.Fatal(err)
	}
	(&world{ctx: w.ctx, state: w.state}).publish()
	go func() { _ = control.New(control.Config{State: w.state}).Run(w.ctx) }()
	go w.agent(b, w.state.Watch()) // from now on, or the first instances would not be seen
	return w
}

// agent answers every change at once, in batches of what has come meanwhile, at most 500 at a time.
func (w *quickWorld) agent(b *testing.B, watch *state.Watch) {
	defer watch.Stop()
	for {
		select {
		case <-watch.Changed():
		case <-w.ctx.Done():
			return
		}
		changes := watch.Take()
		for len(changes) > 0 && w.ctx.Err() == nil {
			batch := changes[:min(500, len(changes))]
			changes = changes[len(batch):]
			_, err := w.state.Update(w.ctx, core.Meta{Principal: "agent:n1", Verb: "report"}, func(tx *state.Tx) error {
				for _, c := range batch {
					answer(tx, c)
				}
				return nil
			})
			if err != nil && w.ctx.Err() == nil {
				b.Error(err)
			}
		}
	}
}

func answer(tx *state.Tx, c state.Change) {
	switch c.Kind {
	case core.KindInstance:
		inst, ok := state.Instances.Get(tx, c.ID)
		s, _ := state.InstanceStatuses.Get(tx, c.ID)
		switch {
		case !ok:
		case inst.Desired == core.DesiredDestroy && s.Phase != core.InstanceGone:
			state.InstanceStatuses.Put(tx, c.ID, core.InstanceStatus{Format: core.Format, ID: c.ID, Service: inst.Service, Node: "n1", Phase: core.InstanceGone})
		case inst.Desired == core.DesiredDrain:
			for name := range state.Routes.By(tx, state.ByService, inst.Service) {
				carryQuickly(tx, name)
			}
		case s.Phase == 0:
			state.InstanceStatuses.Put(tx, c.ID, core.InstanceStatus{
				Format: core.Format, ID: c.ID, Service: inst.Service, Node: "n1",
				Phase: core.InstanceRunning, Healthy: true, Verified: true, Addresses: map[string]string{"http": "127.0.0.1:8000"},
			})
		}
	case core.KindRoute:
		carryQuickly(tx, c.ID)
	}
}

func carryQuickly(tx *state.Tx, name string) {
	route, ok := state.Routes.Get(tx, name)
	id := core.RouteStatusID(name, "n1", "local")
	if !ok {
		return
	}
	s := core.RouteStatus{Format: core.Format, Route: name, Node: "n1", Driver: "proxy", Target: "local", Generation: route.Generation, Removed: route.Removed}
	if tx.Size() > 0 {
		if old, _ := state.RouteStatuses.Get(tx, id); old.Generation == s.Generation && len(old.Quiet) > 0 {
			return // once for a batch
		}
	}
	for inst, i := range state.Instances.By(tx, state.ByService, route.Service) {
		if i.Desired == core.DesiredDrain {
			s.Quiet = append(s.Quiet, inst)
		}
	}
	state.RouteStatuses.Put(tx, id, s)
}

func (w *quickWorld) deploy(b *testing.B, d core.Declared, n int) {
	b.Helper()
	applied, err := w.ops.Apply(w.ctx, ann(), core.Set{Services: []core.Declared{d}}, nil)
	if err != nil {
		b.Fatal(err)
	}
	watch := w.state.Watch()
	defer watch.Stop()
	deadline := time.After(5 * time.Minute)
	for {
		v := w.state.View()
		r, _ := state.Rollouts.Get(v, applied.Rollouts[0])
		if left := 0; r.Phase == core.RolloutSucceeded {
			for range state.Instances.By(v, state.ByService, d.Name) {
				left++
			}
			if left == n {
				return
			}
		}
		select {
		case <-watch.Changed():
			watch.Take()
		case <-deadline:
			b.Fatalf("not within five minutes: %s", control.Waiting(v, d.Name, time.Now()))
		}
	}
}
