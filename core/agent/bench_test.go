package agent_test

import (
	"fmt"
	"testing"
	"time"

	"github.com/instarhq/instar/core"
	"github.com/instarhq/instar/core/state"
)

// BenchmarkInstances measures what the agent costs per instance, made and destroyed, without a backend.
// The figures per instance must not grow with the number of instances.
func BenchmarkInstances(b *testing.B) {
	for _, count := range []int{100, 1000, 10_000} {
		b.Run(fmt.Sprint(count), func(b *testing.B) {
			for b.Loop() {
				n := makeNode(b)
				n.quiet = true
				n.start()
				began := time.Now()
				n.deployMany(count)
				n.awaitStatuses(count, core.InstanceRunning)
				made := time.Now()
				n.wantAll(core.DesiredDestroy)
				n.awaitStatuses(count, core.InstanceGone)
				b.ReportMetric(float64(made.Sub(began).Microseconds())/float64(count), "µs/create")
				b.ReportMetric(float64(time.Since(made).Microseconds())/float64(count), "µs/destroy")
				b.ReportMetric(float64(n.store.Seq())/float64(count), "records/instance")
				n.stop()
			}
		})
	}
}

// deployMany writes many instances as control would: in transactions of a thousand.
func (n *node) deployMany(count int) {
	n.t.Helper()
	n.deploy(revision(nil))
	for first := 0; first < count; first += 1000 {
		n.update(func(tx *state.Tx) {
			for i := first; i < min(first+1000, count); i++ {
				id := fmt.Sprintf("web-%05d", i)
				state.Instances.Put(tx, id, instance(id))
			}
		})
	}
}

func (n *node) wantAll(desired core.Desired) {
	n.t.Helper()
	var ids []string
	for id := range state.Instances.All(n.state.View()) {
		ids = append(ids, id)
	}
	for len(ids) > 0 {
		batch := ids[:min(1000, len(ids))]
		ids = ids[len(batch):]
		n.update(func(tx *state.Tx) {
			for _, id := range batch {
				inst, _ := state.Instances.Get(tx, id)
				inst.Desired = desired
				state.Instances.Put(tx, id, inst)
			}
		})
	}
}

func (n *node) awaitStatuses(count int, phase core.InstancePhase) {
	n.t.Helper()
	watch := n.state.Watch()
	defer watch.Stop()
	deadline := time.After(time.Minute)
	for {
		got := 0
		for _, s := range state.InstanceStatuses.All(n.state.View()) {
			if s.Phase == phase {
				got++
			}
		}
		if got == count {
			return
		}
		select {
		case <-watch.Changed():
			watch.Take()
		case <-deadline:
			n.t.Fatalf("%d of %d instances are %s", got, count, phase)
		}
	}
}
