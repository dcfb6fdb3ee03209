package snapshot_test

import (
	"context"
	"errors"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/instarhq/instar/core"
	"github.com/instarhq/instar/core/coretest"
	"github.com/instarhq/instar/core/snapshot"
	"github.com/instarhq/instar/core/state"
)

// scheduling runs schedules until the test ends. The time that it gives moves only when told.
func scheduling(t *testing.T, f *fixture) (*state.State, *atomic.Int64) {
	t.Helper()
	clock := &atomic.Int64{}
	clock.Store(f.now.Unix())
	f.keeper.Maker.Now = func() time.Time { return time.Unix(clock.Load(), 0).UTC() }
	st := state.New(coretest.NewStore())
	for _, run := range []func(context.Context) error{st.Run, snapshot.NewScheduler(f.keeper, st, "dev", nil).Run} {
		ctx, cancel := context.WithCancel(context.Background())
		ended := make(chan error, 1)
		go func() { ended <- run(ctx) }()
		t.Cleanup(func() {
			cancel()
			if err := <-ended; !errors.Is(err, context.Canceled) {
				t.Errorf("Run ended with %v", err)
			}
		})
	}
	if err := st.Ready(t.Context()); err != nil {
		t.Fatal(err)
	}
	return st, clock
}

// until waits for what is to become of the schedule.
func until(t *testing.T, st *state.State, what string, done func(core.Schedule) bool) core.Schedule {
	t.Helper()
	deadline := time.After(time.Minute)
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for {
		schedule, ok := state.Schedules.Get(st.View(), "nightly")
		if ok && done(schedule) {
			return schedule
		}
		select {
		case <-deadline:
			t.Fatalf("%s: %+v, failing %+v", what, schedule, schedule.Failing)
		case <-tick.C:
		}
	}
}

// A schedule shows why it fails, is tried again, and goes on; what failed is not counted as kept.
func TestScheduleOverS3(t *testing.T) {
	f, server := newFixture(t), newS3(t)
	server.meddleWith(func(w http.ResponseWriter, r *http.Request) bool {
		if r.Method == http.MethodPut {
			refuse(w, "AccessDenied")
		}
		return r.Method == http.MethodPut
	})
	old := "prod/dev-g1-s9-20200101T000000Z.instar"
	server.put(t, old)
	st, clock := scheduling(t, f)
	_, err := st.Update(t.Context(), core.Meta{Principal: "test", Verb: "test"}, func(tx *state.Tx) error {
		state.Schedules.Put(tx, "nightly", core.Schedule{
			Format: core.Format, Name: "nightly", URL: server.address(bucketName), Every: core.Duration(24 * time.Hour), Keep: 1,
		})
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	failing := until(t, st, "failing", func(s core.Schedule) bool { return s.Failing != nil })
	if failing.Last != nil || !strings.Contains(failing.Failing.Error, "s3://backups?") || !strings.Contains(failing.Failing.Error, "AccessDenied") {
		t.Errorf("%+v, failing %+v", failing, failing.Failing)
	}
	if got := server.inBucket(t); len(got) != 1 || got[0] != old {
		t.Errorf("after a failure the bucket has %q", got)
	}
	server.meddleWith(nil)
	clock.Add(60)
	first := until(t, st, "first", func(s core.Schedule) bool { return s.Failing == nil && s.Last != nil })
	clock.Add(24 * 3600)
	second := until(t, st, "second", func(s core.Schedule) bool { return s.Last.Name != first.Last.Name })
	if got := server.inBucket(t); len(got) != 1 || got[0] != "prod/"+second.Last.Name {
		t.Errorf("the bucket has %q, want only %s", got, second.Last.Name)
	}
}
