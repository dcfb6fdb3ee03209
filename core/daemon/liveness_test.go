package daemon_test

import (
	"testing"

	"github.com/instarhq/instar/core"
	"github.com/instarhq/instar/core/api/client"
)

// state is what a node's view says of the liveness of another one; empty: nothing has ever been amiss.
func (m *member) state(node string) core.NodeState {
	page, err := m.api().NodeViews(m.Context(), client.List{})
	if err != nil {
		return "?"
	}
	for _, v := range page.Items {
		if v.Name == node && v.Status != nil {
			return v.Status.State
		}
	}
	return ""
}

// Nodes that stop are noticed, also the one that led, and taken back when they are there again; nodes that
// go on are not suspected because another one leads.
func TestNodesComeAndGo(t *testing.T) {
	t.Parallel()
	all := found(t, 3, 0)
	lead, others := leader(all)
	others[0].stop()
	lead.await("the node is unreachable", func() bool { return lead.state(others[0].name) == core.NodeUnreachable })
	if s := lead.state(others[1].name); s != "" {
		t.Errorf("%s, which runs, is %s", others[1].name, s)
	}
	others[0].run()
	others[0].ready()
	lead.await("the node is back", func() bool { return lead.state(others[0].name) == core.NodeReady })

	lead.stop()
	next, rest := leader(all)
	next.await("the former leader is unreachable", func() bool { return next.state(lead.name) == core.NodeUnreachable })
	if s := next.state(rest[0].name); s == core.NodeUnreachable || s == core.NodeDown {
		t.Errorf("%s, which runs, is %s", rest[0].name, s)
	}
	lead.run()
	lead.ready()
	next.await("the former leader is back", func() bool { return next.state(lead.name) == core.NodeReady })
}

// A drain asked for on any node is the leader's, and an empty node is done at once.
func TestDrain(t *testing.T) {
	t.Parallel()
	all := found(t, 3, 0)
	_, others := leader(all)
	api := others[0].api()
	if _, err := api.DrainNode(t.Context(), client.Write{Reason: "new disks"}, others[1].name); err != nil {
		t.Fatal(err)
	}
	others[0].await("the node is empty", func() bool {
		v, err := api.Drain(t.Context(), others[1].name)
		return err == nil && v.Done && v.Drain.Reason == "new disks"
	})
	if _, err := api.UndrainNode(t.Context(), client.Write{}, others[1].name); err != nil {
		t.Fatal(err)
	}
	others[0].await("the node takes instances again", func() bool {
		v, err := api.Drain(t.Context(), others[1].name)
		return err == nil && !v.Done && v.Drain == nil
	})
	if _, err := api.DrainNode(t.Context(), client.Write{}, "n9"); !core.IsNotFound(err) {
		t.Errorf("a node that is not there: %v", err)
	}
}
