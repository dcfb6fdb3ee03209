package e2e

import (
	"testing"

	"github.com/instarhq/instar/core"
)

// The node that acts for a shared compute target is killed while it makes the instances of a rollout: one is made
// and unanswered, two are asked for. Another node takes over, finds the one, makes the two, and the rollout
// succeeds.
func TestLeaseHolderDiesInARollout(t *testing.T) {
	t.Parallel() // it waits most of the time
	a := newAccount(t)
	a.declare(t, 0, 1)
	holder := a.served(t)
	shoppers := startCustomers(a.addresses)
	before := len(a.calls(t))
	a.hold(t)
	a.declare(t, 1, 3, "-detach")
	if now, _ := a.asked(t, before, ""); now != holder {
		t.Fatalf("%s held the lease, and %s makes instances", holder, now)
	}
	a.held(t)
	rest := a.others(holder)
	if err := a.Node(holder).Kill(); err != nil {
		t.Fatal(err)
	}
	second, from := a.asked(t, before, holder)
	a.release(t)
	heir, ids := a.won(t, rest[0], 3)
	if heir != second {
		t.Errorf("%s asked for the instances, %s acts for them", second, heir)
	}

	a.back(t, holder)
	if again, now := a.succeeded(t, rest[0], 3); again != heir || !sameKeys(now, ids) {
		t.Errorf("%s is back: %s acts for %v; before it was %s for %v", holder, again, now, heir, ids)
	}
	a.onceAtBackend(t, ids)
	a.onlyBy(t, heir, from)
	shoppers.leave(t)
	a.oneRoot(t)
}

// The node that acts for a shared compute target is restarted, and nothing changes. Then it stands still in the
// middle of a rollout until another has taken over and won the rollout; when it goes on, with an old view and calls
// under way, it does nothing more.
func TestLeaseHolderStandsStill(t *testing.T) {
	t.Parallel() // it waits most of the time
	a := newAccount(t)
	a.declare(t, 0, 1)
	first, ids := a.succeeded(t, 0, 1)
	before := len(a.calls(t))
	if err := a.Node(first).Restart(a.ctx); err != nil {
		t.Fatal(err)
	}
	a.back(t, first)
	if _, now := a.succeeded(t, 0, 1); !sameKeys(now, ids) {
		t.Errorf("%s was restarted: %v before, %v now", first, ids, now)
	}
	if calls := a.calls(t); len(calls) > before {
		t.Errorf("%s was restarted: %v", first, calls[before:])
	}

	holder := a.served(t)
	shoppers := startCustomers(a.addresses)
	before = len(a.calls(t))
	a.hold(t)
	a.declare(t, 0, 3, "-detach")
	if now, _ := a.asked(t, before, ""); now != holder {
		t.Fatalf("%s held the lease, and %s makes instances", holder, now)
	}
	a.held(t)
	rest := a.others(holder)
	if err := a.Node(holder).Pause(); err != nil {
		t.Fatal(err)
	}
	_, from := a.asked(t, before, holder)
	a.release(t) // also of the calls that the one that stands still has under way
	heir, ids := a.won(t, rest[0], 3)

	if err := a.Node(holder).Continue(); err != nil {
		t.Fatal(err)
	}
	a.back(t, holder)
	if again, now := a.succeeded(t, rest[0], 3); again != heir || !sameKeys(now, ids) {
		t.Errorf("%s goes on: %s acts for %v; before it was %s for %v", holder, again, now, heir, ids)
	}
	a.declare(t, rest[1], 4)
	_, ids = a.succeeded(t, rest[0], 4)
	a.onceAtBackend(t, ids)
	a.onlyBy(t, heir, from)
	shoppers.leave(t)
	a.oneRoot(t)
}

// served adds routes on the nodes that do not act for the service, and gives the one that does.
func (a *account) served(t *testing.T) (holder string) {
	t.Helper()
	holder, _ = a.succeeded(t, 0, 1)
	a.expose(t, holder)
	a.declare(t, 0, 2)
	again, _ := a.succeeded(t, 0, 2)
	if again != holder {
		t.Fatalf("the lease has gone from %s to %s, and nothing had happened", holder, again)
	}
	return holder
}

// back waits until a node has caught up, and the others have it for ready.
func (a *account) back(t *testing.T, name string) {
	t.Helper()
	n := a.Node(name)
	if !n.Running() {
		if err := n.Start(a.ctx); err != nil {
			t.Fatal(err)
		}
	}
	a.await(t, name+" is ready again", func() bool {
		health, err := n.API.Health(a.ctx)
		if err != nil || !health.Ready {
			return false
		}
		for _, i := range a.others(name) {
			v, err := a.Nodes[i].API.NodeView(a.ctx, name)
			if err != nil || (v.Status != nil && v.Status.State != core.NodeReady) {
				return false
			}
		}
		return true
	})
}

// onlyBy fails the test if another node's driver was asked for anything after a place in the journal.
func (a *account) onlyBy(t *testing.T, holder string, from int) {
	t.Helper()
	for _, c := range a.calls(t)[from:] {
		if c.Node != holder && (c.Event == "create" || c.Event == "destroy") {
			t.Errorf("%s was asked to %s %s while %s acted for the target", c.Node, c.Event, c.Instance, holder)
		}
	}
}
