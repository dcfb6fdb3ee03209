package agent_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/instarhq/instar/core"
	"github.com/instarhq/instar/core/state"
	"github.com/instarhq/instar/sdk"
)

func TestInstanceRunsBecomesHealthyAndGoes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := newNode(t)
		n.deploy(revision(nil), "web-1", "web-2", "web-3")
		s := n.wantPhase("web-1", core.InstanceRunning)
		if s.Healthy || s.Addresses["http"] == "" || s.Fingerprint == "" {
			t.Fatalf("running, not healthy, with address and fingerprint expected: %+v", s)
		}
		if n.compute.fetches != 1 {
			t.Errorf("the artifact was fetched %d times, want once for all", n.compute.fetches)
		}
		n.after(4 * time.Second)
		if n.status("web-1").Healthy {
			t.Error("healthy before it ran for 5 s")
		}
		n.after(2 * time.Second)
		if s := n.status("web-1"); !s.Healthy || !s.Verified || s.HealthySince.IsZero() {
			t.Errorf("not healthy after 5 s: %+v", s)
		}
		n.desire("web-1", core.DesiredDrain)
		n.wantPhase("web-1", core.InstanceRunning)
		n.desire("web-1", core.DesiredDestroy)
		if s := n.wantPhase("web-1", core.InstanceGone); s.Healthy {
			t.Error("a gone instance is healthy")
		}
		n.wantPhase("web-2", core.InstanceRunning)
	})
}

// A record for every transition, and none besides.
func TestQuickStepsAreNotReported(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := newNode(t)
		n.deploy(revision(nil), "web-1")
		before := n.store.Seq()
		n.after(time.Hour)
		if got := n.store.Seq() - before; got != 1 { // healthy
			t.Errorf("%d records in an hour of rest, want 1", got)
		}
	})
}

func TestSlowCreateIsReported(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := newNode(t)
		n.compute.CreateDelay = 3 * time.Second
		n.deploy(revision(nil), "web-1")
		n.after(900 * time.Millisecond)
		n.wantPhase("web-1", 0)
		n.after(200 * time.Millisecond)
		n.wantPhase("web-1", core.InstanceCreating)
		n.after(2 * time.Second)
		n.wantPhase("web-1", core.InstanceRunning)
	})
}

func TestCreateFailures(t *testing.T) {
	tests := []struct {
		name      string
		err       error
		permanent bool
	}{
		{"invalid", sdk.InvalidConfig("command", "no such file"), true},
		{"not found", sdk.NotFound("artifact is gone"), true},
		{"internal", errors.New("disk full"), false},
		{"conflict", sdk.Conflict("it was destroyed"), false},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				n := newNode(t)
				n.compute.FailCreate = func(sdk.InstanceSpec) error { return tt.err }
				n.deploy(revision(nil), "web-1")
				f := n.wantPhase("web-1", core.InstanceFailed).Failure
				if f.Permanent != tt.permanent || !strings.Contains(f.Message, tt.err.Error()) {
					t.Errorf("failure %+v for %v", f, tt.err)
				}
				n.desire("web-1", core.DesiredDestroy)
				n.wantPhase("web-1", core.InstanceGone)
			})
		})
	}
}

func TestUnavailableDriverIsNoFailureForAWhile(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := newNode(t)
		n.host.setDown(sdk.Unavailable(0, "process compute/noop/local is not up"))
		n.deploy(revision(nil), "web-1")
		n.after(time.Minute)
		n.wantPhase("web-1", core.InstanceCreating)
		n.host.setDown(nil)
		n.after(15 * time.Second)
		n.wantPhase("web-1", core.InstanceRunning)

		n.host.setDown(sdk.Unavailable(0, "process compute/noop/local is not up"))
		n.update(func(tx *state.Tx) { state.Instances.Put(tx, "web-2", instance("web-2")) })
		n.after(3 * time.Minute)
		if f := n.wantPhase("web-2", core.InstanceFailed).Failure; f.Permanent || !strings.Contains(f.Message, "not up") {
			t.Errorf("failure %+v", f)
		}
	})
}

func TestExitIsReportedWithTheLastLines(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := newNode(t)
		n.deploy(revision(func(s *core.Spec) {
			s.Compute.Config = json.RawMessage(`{"exit_after":"3s","exit_code":7}`)
		}), "web-1")
		n.wantPhase("web-1", core.InstanceRunning)
		n.after(3*time.Second + time.Millisecond)
		f := n.wantPhase("web-1", core.InstanceFailed).Failure
		if !strings.Contains(f.Message, "status 7") || len(f.Logs) != 2 || f.Logs[0] != "hello from web-1" {
			t.Errorf("failure %+v", f)
		}
	})
}

func TestInstanceRemovedBehindOurBackIsLost(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := newNode(t)
		n.deploy(revision(nil), "web-1", "web-2")
		if err := n.compute.NoopCompute.Destroy(t.Context(), "web-1", 0); err != nil {
			t.Fatal(err)
		}
		n.after(time.Second)
		n.wantPhase("web-1", core.InstanceLost)
		n.wantPhase("web-2", core.InstanceRunning)
	})
}

func TestDriftIsAFailure(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := newNode(t)
		n.deploy(revision(nil), "web-1")
		n.compute.mu.Lock()
		n.compute.forge = func(i *sdk.Instance) { i.Fingerprint = "sha256:other" }
		n.compute.mu.Unlock()
		n.after(6 * time.Minute)
		if f := n.wantPhase("web-1", core.InstanceFailed).Failure; !strings.HasPrefix(f.Message, "drifted: ") {
			t.Errorf("failure %+v", f)
		}
	})
}

func TestDestroyIsRepeatedUntilItSucceeds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := newNode(t)
		n.deploy(revision(nil), "web-1")
		n.compute.mu.Lock()
		n.compute.onDestroy = func(string) error { return errors.New("device busy") }
		n.compute.mu.Unlock()
		n.desire("web-1", core.DesiredDestroy)
		n.after(time.Minute)
		if s := n.wantPhase("web-1", core.InstanceDestroying); s.Failure == nil || !strings.Contains(s.Failure.Message, "device busy") {
			t.Errorf("the status does not say why: %+v", s.Failure)
		}
		n.compute.mu.Lock()
		n.compute.onDestroy = nil
		n.compute.mu.Unlock()
		n.after(time.Minute)
		n.wantPhase("web-1", core.InstanceGone)
	})
}

// I4: whatever crashes in between, one id is made once.
func TestI4RestartNeitherMakesNorTouches(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := newNode(t)
		n.deploy(revision(nil), "web-1", "web-2", "web-3")
		n.after(10 * time.Second)
		n.desire("web-3", core.DesiredDestroy)
		before := n.status("web-1")
		seq := n.store.Seq()
		n.restart()
		n.after(time.Minute)
		if got := n.compute.Backend.Created(); got != 3 {
			t.Errorf("%d instances were made, want 3", got)
		}
		after := n.status("web-1")
		if before.Updated != after.Updated || !after.Healthy {
			t.Errorf("a restart changed the status from %+v to %+v", before, after)
		}
		if got := n.store.Seq() - seq; got != 1 { // the node says since when it runs
			t.Errorf("a restart wrote %d records, want 1", got)
		}
	})
}

// I4: the record is there before Create, the crash comes before its result is known.
func TestI4CrashDuringCreate(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := newNode(t)
		n.compute.CreateDelay = 10 * time.Second
		n.deploy(revision(nil), "web-1")
		n.after(5 * time.Second)
		n.restart()
		n.after(20 * time.Second)
		n.wantPhase("web-1", core.InstanceRunning)
		if got := n.compute.Backend.Created(); got != 1 {
			t.Errorf("%d instances were made, want 1", got)
		}
	})
}

// I4: no orphan outlives a reconcile, and what is not ours is left alone.
func TestI4OrphansAreDestroyed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := newNode(t)
		n.deploy(revision(nil), "web-1")
		for _, i := range []struct {
			id, cluster string
			generation  uint64
		}{{"orphan", cluster, 1}, {"newer", cluster, 2}, {"older", cluster, 0}, {"foreign", "ffff", 1}} {
			_, err := n.compute.Create(t.Context(), sdk.InstanceSpec{ID: i.id, Cluster: i.cluster, Generation: i.generation})
			if err != nil {
				t.Fatal(err)
			}
		}
		n.after(6 * time.Minute)
		if got := fmt.Sprint(n.compute.destroyed); got != "[orphan]" {
			t.Errorf("destroyed %s, want the orphan alone", got)
		}
		n.wantPhase("web-1", core.InstanceRunning)
	})
}

func TestDestroyDuringCreate(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := newNode(t)
		n.compute.CreateDelay = time.Hour
		n.deploy(revision(nil), "web-1")
		n.after(2 * time.Second)
		n.desire("web-1", core.DesiredDestroy)
		n.wantPhase("web-1", core.InstanceGone)
	})
}

func TestMissingConfigIsAPermanentFailure(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := newNode(t)
		n.deploy(revision(func(s *core.Spec) {
			s.Mounts = []core.Mount{{Config: "site", Digest: core.DigestBytes(nil), Path: "site.conf"}}
		}), "web-1")
		if f := n.wantPhase("web-1", core.InstanceFailed).Failure; !f.Permanent || !strings.Contains(f.Message, "site@sha256:") {
			t.Errorf("failure %+v", f)
		}
	})
}

func TestArtifactsArePrunedAfterInstancesHaveGone(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := newNode(t)
		r := revision(nil)
		n.deploy(r, "web-1")
		n.desire("web-1", core.DesiredDestroy)
		n.after(2 * time.Minute)
		n.compute.mu.Lock()
		defer n.compute.mu.Unlock()
		if len(n.compute.kept) != 1 || fmt.Sprint(n.compute.kept[0]) != fmt.Sprintf("[%s]", r.Spec.Artifact.Digest) {
			t.Errorf("prune calls kept %v, want one that keeps the active revision's %s", n.compute.kept, r.Spec.Artifact.Digest)
		}
	})
}

func TestNodeAndDriversArePublished(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := newNode(t)
		got, ok := state.Nodes.Get(n.state.View(), "n1")
		if !ok || len(got.Targets) != 2 || !got.Targets[0].Healthy {
			t.Fatalf("node %+v", got)
		}
		if _, ok := state.Drivers.Get(n.state.View(), "n1/compute/noop"); !ok {
			t.Error("the compute driver is not published")
		}
		n.host.setDown(errors.New("gone"))
		n.after(time.Millisecond)
		if got, _ = state.Nodes.Get(n.state.View(), "n1"); got.Targets[0].Healthy {
			t.Error("an unhealthy target is published as healthy")
		}
	})
}
