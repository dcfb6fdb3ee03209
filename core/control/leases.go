package control

import (
	"context"
	"time"

	"github.com/instarhq/instar/core"
	"github.com/instarhq/instar/core/heartbeat"
	"github.com/instarhq/instar/core/place"
	"github.com/instarhq/instar/core/state"
)

const (
	// unfitFor is how long a holder's target may be unhealthy, while another node's is healthy, before the
	// lease moves.
	unfitFor = 15 * time.Second
	// movesMost bounds the instances that change hands in one transaction.
	movesMost = 2000
)

// leaseKeeper gives the leases of targets that the whole cluster shares to nodes that can act on them. A
// lease that changes hands while its holder lives is taken back first, and given on when the holder cannot
// act under it any more: FenceTime after it has been told nothing but that. What it knows is gone with the
// leadership; the next leader waits for as long as if everything had happened just then.
type leaseKeeper struct {
	*Controller
	began  time.Time            // of this leadership
	taken  map[string]time.Time // when this leader took a lease back
	unfit  map[string]time.Time // since when a holder cannot use it
	behind bool                 // instances may still name an earlier holder
}

func newLeaseKeeper(c *Controller) *leaseKeeper {
	return &leaseKeeper{Controller: c, began: time.Now(), taken: map[string]time.Time{}, unfit: map[string]time.Time{}, behind: true}
}

// keep writes the leases that are to change, and lets instances follow theirs.
func (k *leaseKeeper) keep(ctx context.Context) error {
	if len(k.decide(k.state.View())) > 0 {
		meta := core.Meta{Principal: principal, Verb: "lease.give"}
		var given []core.Lease
		_, err := k.state.Update(ctx, meta, func(tx *state.Tx) error {
			given = k.decide(tx)
			for i := range given {
				verb, reason := "lease.give", given[i].Driver+"/"+given[i].Target+" to "+given[i].Node
				if given[i].Node == "" {
					verb, reason = "lease.take", given[i].Driver+"/"+given[i].Target
				}
				tx.Describe(verb, reason)
				state.Leases.Put(tx, core.LeaseID(core.DriverKind(given[i].Kind), given[i].Driver, given[i].Target), given[i])
			}
			handOver(tx, movesMost)
			return nil
		})
		if err != nil {
			return err
		}
		for i := range given {
			k.noted(&given[i])
		}
	}
	return k.follow(ctx)
}

// noted remembers when a lease was taken back.
func (k *leaseKeeper) noted(l *core.Lease) {
	id := core.LeaseID(core.DriverKind(l.Kind), l.Driver, l.Target)
	delete(k.unfit, id)
	delete(k.taken, id)
	if l.Node == "" {
		k.taken[id] = time.Now()
	}
	k.behind = true
}

// follow lets the instances of a shared target name the node that holds its lease, as many as fit.
func (k *leaseKeeper) follow(ctx context.Context) error {
	if !k.behind && !k.strayed.Swap(false) {
		return nil
	}
	k.behind = true // until it is known to be done
	more := false
	meta := core.Meta{Principal: principal, Verb: "lease.follow", Reason: "another node acts for them"}
	_, err := k.state.Update(ctx, meta, func(tx *state.Tx) error {
		more = handOver(tx, movesMost)
		return nil
	})
	if err == nil {
		k.behind = more
	}
	return err
}

// handOver writes the holder of its target's lease into every instance that names another node, at most
// limit of them, and reports whether there are more.
func handOver(tx *state.Tx, limit int) (more bool) {
	holders := map[place.Key]string{}
	for _, l := range state.Leases.All(tx) {
		if l.Kind == string(core.DriverCompute) && l.Node != "" {
			holders[place.Key{Driver: l.Driver, Name: l.Target}] = l.Node
		}
	}
	if len(holders) == 0 {
		return false
	}
	var moved []core.Instance
	for _, inst := range state.Instances.All(tx) {
		holder, shared := holders[place.Key{Driver: inst.Driver, Name: inst.Target}]
		if !shared || inst.Node == holder {
			continue
		}
		if len(moved) == limit {
			more = true
			break
		}
		inst.Node = holder
		moved = append(moved, inst)
	}
	for _, inst := range moved {
		state.Instances.Put(tx, inst.ID, inst)
	}
	return more
}

// claimants are the nodes that have a shared target configured.
type claimants struct {
	kind         core.DriverKind
	driver, name string
	nodes        []claimant // ordered by name
}

type claimant struct {
	node    string
	open    bool // it takes something new: it is ready, and stays
	away    bool // it is not ready
	healthy bool // its target is
}

// decide gives the leases that are to be written.
func (k *leaseKeeper) decide(r state.Reader) []core.Lease {
	targets := map[string]*claimants{}
	for name, node := range state.Nodes.All(r) {
		if removed(r, name) {
			continue
		}
		for _, t := range node.Targets {
			if t.Scope != core.ScopeCluster || t.Kind == core.DriverMetrics {
				continue
			}
			id := core.LeaseID(t.Kind, t.Driver, t.Name)
			if targets[id] == nil {
				targets[id] = &claimants{kind: t.Kind, driver: t.Driver, name: t.Name}
			}
			why := closed(r, name)
			targets[id].nodes = append(targets[id].nodes, claimant{
				node: name, open: why == "", away: why == string(core.NodeUnreachable) || why == string(core.NodeDown), healthy: t.Healthy,
			})
		}
	}
	for id, l := range state.Leases.All(r) {
		if targets[id] == nil && l.Node != "" { // nobody has it configured any more
			targets[id] = &claimants{kind: core.DriverKind(l.Kind), driver: l.Driver, name: l.Target}
		}
	}
	var out []core.Lease
	for _, id := range sortedNames(targets) {
		if next, changed := k.next(r, id, targets[id]); changed {
			out = append(out, next)
		}
	}
	return out
}

// next is what becomes of a lease now.
func (k *leaseKeeper) next(r state.Reader, id string, t *claimants) (core.Lease, bool) {
	lease, exists := state.Leases.Get(r, id)
	if !exists {
		lease = core.Lease{Format: core.Format, Kind: string(t.kind), Driver: t.driver, Target: t.name}
	}
	if lease.Node != "" && k.keeps(&lease, id, t) {
		return lease, false
	}
	free := lease.Epoch == 0 || k.fenced(&lease, id)
	best := t.best(lease.Node)
	switch {
	case free && best != "":
		lease.Node = best
	case lease.Node != "":
		lease.Node = "" // taken back: given on when its holder cannot act any more
	case !exists:
	default:
		return lease, false
	}
	lease.Epoch++
	if !exists && lease.Node == "" {
		lease.Epoch = 0 // it never had a holder
	}
	lease.Since = k.now().UTC().Round(0)
	return lease, true
}

// keeps reports whether the holder of a lease stays: as long as it may be acting, and is not meant to stop.
func (k *leaseKeeper) keeps(lease *core.Lease, id string, t *claimants) bool {
	for _, c := range t.nodes {
		switch {
		case c.node != lease.Node:
			continue
		case c.open && c.healthy:
			delete(k.unfit, id)
			return true
		case t.best(lease.Node) == "":
			return true // nobody could do better
		case c.away:
			return !k.fenced(lease, id)
		case c.open:
			if k.unfit[id].IsZero() {
				k.unfit[id] = time.Now()
			}
			return time.Since(k.unfit[id]) < unfitFor
		}
		return false // it is to be empty
	}
	return false
}

// fenced reports whether nobody can act under a lease any more.
func (k *leaseKeeper) fenced(lease *core.Lease, id string) bool {
	if lease.Node != "" {
		sight, ok := k.liveness.Look(lease.Node)
		return ok && sight.Silent >= heartbeat.FenceTime
	}
	since := k.began
	if taken, ok := k.taken[id]; ok {
		since = taken
	}
	return time.Since(since) >= heartbeat.FenceTime
}

// best is the node that a lease should go to; empty: nobody can have it. The one that has it is not asked
// again.
func (t *claimants) best(holder string) string {
	for _, c := range t.nodes {
		if c.open && c.healthy && c.node != holder {
			return c.node
		}
	}
	return ""
}

// noteStray notes an instance that was placed while its target's lease changed hands.
func (c *Controller) noteStray(view *state.View, id string) {
	inst, ok := state.Instances.Get(view, id)
	if !ok {
		return
	}
	lease, shared := state.Leases.Get(view, core.LeaseID(core.DriverCompute, inst.Driver, inst.Target))
	if shared && lease.Node != "" && lease.Node != inst.Node {
		c.strayed.Store(true)
	}
}
