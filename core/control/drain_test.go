package control_test

import (
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/instarhq/instar/core"
	"github.com/instarhq/instar/core/control"
	"github.com/instarhq/instar/core/state"
)

func TestDrainVerb(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCluster(t, true, "n1", "n2")
		c.after(time.Second) // the shared target has its lease
		c.stop()
		ops := control.NewOperations(control.OperationsConfig{State: c.state})
		meta := core.Meta{Principal: "local:ann", Verb: "node.drain", Reason: "new disks"}
		c.write(func(tx *state.Tx) {
			state.Nodes.Put(tx, "alone", core.Node{Format: core.Format, Name: "alone"})
			state.Services.Put(tx, "web", core.Service{Format: core.Format, Name: "web"})
			for id, target := range map[string]string{"web-a": "local", "web-b": "local", "web-c": "eu"} {
				inst := core.Instance{Format: core.Format, ID: id, Service: "web", Node: "n2", Driver: "ec2", Target: target, Desired: core.DesiredDrain}
				if id == "web-a" {
					inst.Desired = core.DesiredRun
				}
				state.Instances.Put(tx, id, inst)
			}
		})
		for node, want := range map[string]core.Code{"n9": core.CodeNotFound, "alone": core.CodeConflict} {
			if _, err := ops.DrainNode(t.Context(), meta, node, false); core.CodeOf(err) != want {
				t.Errorf("%s: %v", node, err)
			}
		}
		seq := c.store.Seq()
		if _, err := ops.DrainNode(t.Context(), meta, "n2", true); err != nil || c.store.Seq() != seq {
			t.Errorf("undoing nothing: %v", err)
		}
		if _, err := ops.DrainNode(t.Context(), meta, "n2", false); err != nil {
			t.Fatal(err)
		}
		m, _ := state.Members.Get(c.state.View(), "n2")
		if m.Drain == nil || m.Drain.By != "local:ann" || m.Drain.Reason != "new disks" {
			t.Errorf("%+v", m.Drain)
		}
		v, err := control.Drained(c.state.View(), "n2", time.Now())
		if err != nil || v.Done || len(v.Left) != 1 || v.Left[0].Service != "web" || v.Left[0].Instances != 2 || v.Left[0].Ending != 1 {
			t.Errorf("%+v, %v", v, err)
		}
		if v, err := control.Drained(c.state.View(), "n1", time.Now()); err != nil || v.Done || v.Drain != nil {
			t.Errorf("%+v, %v", v, err)
		}
		if _, err := control.Drained(c.state.View(), "n9", time.Now()); !core.IsNotFound(err) || !strings.Contains(err.Error(), "n9") {
			t.Error(err)
		}
		if _, err := ops.DrainNode(t.Context(), meta, "n2", true); err != nil {
			t.Fatal(err)
		}
		if m, _ := state.Members.Get(c.state.View(), "n2"); m.Drain != nil {
			t.Errorf("%+v", m.Drain)
		}
		c.write(func(tx *state.Tx) {
			m.State = core.MemberLeaving
			state.Members.Put(tx, "n2", m)
		})
		if _, err := ops.DrainNode(t.Context(), meta, "n2", true); !core.IsConflict(err) {
			t.Errorf("taken back while it leaves: %v", err)
		}
	})
}
