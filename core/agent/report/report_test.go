package report_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/hashicorp/go-hclog"

	"github.com/instarhq/instar/core"
	"github.com/instarhq/instar/core/agent/report"
	"github.com/instarhq/instar/core/coretest"
	"github.com/instarhq/instar/core/state"
)

// rig is a reporter over an in-memory store in a synctest bubble.
type rig struct {
	t        *testing.T
	store    *coretest.Store
	state    *state.State
	reporter *report.Reporter
}

func newRig(t *testing.T, options ...coretest.Option) *rig {
	ctx, cancel := context.WithCancel(t.Context())
	store := coretest.NewStore(options...)
	r := &rig{t: t, store: store, state: state.New(store)}
	r.reporter = report.New(r.state, "n1", hclog.New(&hclog.LoggerOptions{Output: t.Output()}))
	var group sync.WaitGroup
	group.Go(func() { _ = r.state.Run(ctx) })
	t.Cleanup(func() { cancel(); group.Wait() })
	group.Go(func() { r.reporter.Run(ctx) })
	synctest.Wait()
	return r
}

func (r *rig) report(id, version string) {
	r.reporter.Report(report.Observation{Kind: core.KindNode, ID: id, Size: len(version) + 100, Write: func(tx *state.Tx) {
		state.Nodes.Put(tx, id, core.Node{Format: core.Format, Name: id, Version: version})
	}})
}

func (r *rig) version(id string) string {
	n, _ := state.Nodes.Get(r.state.View(), id)
	return n.Version
}

func TestManyObservationsNeedFewTransactions(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t)
		for i := range 10_000 {
			r.report(fmt.Sprintf("n%05d", i), "1")
		}
		synctest.Wait()
		if seq := r.store.Seq(); seq > 12 {
			t.Errorf("10,000 observations became %d transactions", seq)
		}
		objects, err := r.store.List(t.Context(), core.KindNode, "", 0)
		if err != nil || len(objects) != 10_000 {
			t.Errorf("%d objects, %v", len(objects), err)
		}
	})
}

func TestNewestWins(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var down error = core.Errorf(core.CodeUnavailable, "no leader")
		var mu sync.Mutex
		r := newRig(t, coretest.WithFault(func(core.Txn) error { mu.Lock(); defer mu.Unlock(); return down }))
		r.report("a", "1")
		r.report("b", "1")
		synctest.Wait()
		r.report("a", "2")
		r.report("c", "1")
		time.Sleep(time.Minute) //nolint:forbidigo // in a bubble, where the clock jumps
		r.report("a", "3")
		mu.Lock()
		down = nil
		mu.Unlock()
		time.Sleep(10 * time.Second) //nolint:forbidigo // in a bubble, where the clock jumps
		synctest.Wait()
		if got := r.version("a") + r.version("b") + r.version("c"); got != "311" {
			t.Errorf("versions %q, want the newest of each", got)
		}
		if seq := r.store.Seq(); seq != 2 {
			t.Errorf("%d transactions, want 2", seq)
		}
	})
}

func TestOneRefusedObservationDoesNotHoldUpTheOthers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, coretest.WithFault(func(txn core.Txn) error {
			for _, op := range txn.Ops {
				if op.ID == "n0007" {
					return core.Errorf(core.CodeInvalid, "refused")
				}
			}
			return nil
		}))
		for i := range 100 {
			r.report(fmt.Sprintf("n%04d", i), "1")
		}
		synctest.Wait()
		if objects, _ := r.store.List(t.Context(), core.KindNode, "", 0); len(objects) != 99 {
			t.Errorf("%d objects were written, want all but one", len(objects))
		}
	})
}

func TestBatchesAreBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t)
		for i := range 20 {
			r.report(fmt.Sprintf("n%02d", i), strings.Repeat("x", 200<<10))
		}
		synctest.Wait()
		for seq := uint64(1); seq <= r.store.Seq(); seq++ {
			rec, err := r.store.Record(t.Context(), seq)
			if err != nil {
				t.Fatal(err)
			}
			if len(rec.Raw) > 2*core.MaxValueBytes {
				t.Errorf("record %d has %d bytes", seq, len(rec.Raw))
			}
		}
		if objects, _ := r.store.List(t.Context(), core.KindNode, "", 0); len(objects) != 20 {
			t.Errorf("%d objects, want 20", len(objects))
		}
	})
}

// A store that cannot say whether it committed is asked again, and again.
func TestUnknownOutcomeIsRetried(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		attempts := 0
		r := newRig(t, coretest.WithFault(func(core.Txn) error {
			if attempts++; attempts < 5 {
				return errors.Join(core.Errorf(core.CodeTimeout, "lost the leader"))
			}
			return nil
		}))
		r.report("a", "1")
		time.Sleep(time.Minute) //nolint:forbidigo // in a bubble, where the clock jumps
		synctest.Wait()
		if r.version("a") != "1" {
			t.Error("the observation is lost")
		}
	})
}
