package cluster

import (
	"context"
	"time"

	"github.com/instarhq/instar/core"
	"github.com/instarhq/instar/core/mesh"
	"github.com/instarhq/instar/core/state"
)

// Leave makes this node leave the cluster for good: drained if asked, leadership handed over, out of Raft,
// its certificate revoked. When it returns without an error Left is closed, and the daemon ends.
func (c *Cluster) Leave(ctx context.Context, meta core.Meta, drain bool) error {
	if _, there := object(c.cfg.State.View()); !there {
		return errNoCluster()
	}
	if err := c.mayGo(c.cfg.Node); err != nil {
		return err
	}
	request := leaveRequest{Reason: meta.Reason, Principal: meta.Principal}
	if request.Reason == "" {
		request.Reason = "left by order of " + meta.Principal
	}
	if drain {
		if err := c.atLeader(ctx, drainPath, request, nil); err != nil {
			return err
		}
		if err := c.awaitEmpty(ctx); err != nil {
			return err
		}
	}
	if err := c.stepDown(ctx); err != nil {
		return err
	}
	if err := c.callLeader(ctx, leavePath, request, nil); err != nil {
		return err
	}
	if err := c.remember(func(r *Record) { r.Phase = PhaseLeft }); err != nil {
		return err
	}
	c.log.Info("this node has left the cluster")
	c.leftOnce.Do(func() { close(c.left) })
	return nil
}

// stepDown hands leadership over, if it is here.
func (c *Cluster) stepDown(ctx context.Context) error {
	if !c.cfg.Raft.IsLeader() {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, stepLimit)
	defer cancel()
	if err := c.cfg.Raft.TransferLeadership(ctx, ""); err != nil {
		return core.Errorf(core.CodeUnavailable, "node %q leads, and no other voter takes over: %w", c.cfg.Node, err).
			WithHint("see instar cluster status: another voter must be there and up to date")
	}
	for c.cfg.Raft.Leader() == "" || c.cfg.Raft.Leader() == c.cfg.Node {
		select {
		case <-time.After(20 * time.Millisecond):
		case <-ctx.Done():
			return core.Errorf(core.CodeUnavailable, "no voter has taken over from node %q yet: %w", c.cfg.Node, ctx.Err())
		}
	}
	return nil
}

// awaitEmpty waits until nothing runs on this node any more.
func (c *Cluster) awaitEmpty(ctx context.Context) error {
	watch := c.cfg.State.Watch()
	defer watch.Stop()
	for {
		left := 0
		view := c.cfg.State.View()
		for range state.Instances.By(view, state.ByNode, c.cfg.Node) {
			left++
		}
		if left == 0 {
			return nil
		}
		select {
		case <-watch.Changed():
			watch.Take()
		case <-ctx.Done():
			return core.Errorf(core.CodeTimeout, "%d instances are still on node %q: %w", left, c.cfg.Node, ctx.Err()).
				WithHint("it stays drained; repeat the command to go on, or: instar node undrain %s", c.cfg.Node)
		}
	}
}

// mayGo refuses to let a member go whom the others cannot do without.
func (c *Cluster) mayGo(node string) error {
	view := c.cfg.State.View()
	if _, err := state.Members.Find(view, node); err != nil {
		return err
	}
	servers, err := c.cfg.Raft.Servers()
	if err != nil {
		return err
	}
	i := indexOf(servers, node)
	if i < 0 || !servers[i].Voter {
		return nil
	}
	voters, alive := c.without(view, servers, node)
	switch {
	case voters == 0:
		return core.Errorf(core.CodeConflict, "node %q is the only voter: without it there is no cluster", node).WithObject(core.KindMember, node).
			WithHint("to give the cluster up, stop instard and run instard teardown")
	case alive <= voters/2:
		return core.Errorf(core.CodeConflict, "without node %q only %d of %d voters would be there: too few to agree on anything", node, alive, voters).
			WithObject(core.KindMember, node).WithHint("bring the other voters back first; for a quorum that is lost for good: instard cluster recover")
	}
	return nil
}

// drainPeer marks the member that asks as drained.
func (c *Cluster) drainPeer(ctx context.Context, peer mesh.Peer, request leaveRequest) (struct{}, error) {
	return struct{}{}, c.change(ctx, peer, "node.drain", request.Reason, func(tx *state.Tx, m *core.Member) error {
		if m.Drain == nil {
			m.Drain = &core.Drain{Since: c.now().UTC(), By: request.Principal, Reason: request.Reason}
			state.Members.Put(tx, m.Name, *m)
		}
		return nil
	})
}

// dismiss lets the member go that asks, and returns when it is out.
func (c *Cluster) dismiss(ctx context.Context, peer mesh.Peer, request leaveRequest) (struct{}, error) {
	if err := c.mayGo(peer.Node); err != nil {
		return struct{}{}, err
	}
	err := c.leave(ctx, core.Meta{Principal: "agent:" + peer.Node, Verb: "cluster.leave", Reason: request.Reason}, peer.Node, request.Reason)
	if err != nil {
		return struct{}{}, err
	}
	return struct{}{}, c.awaitOut(ctx, peer.Node)
}

// awaitOut waits until a member that leaves is out of Raft. Its certificate is revoked a moment later.
func (c *Cluster) awaitOut(ctx context.Context, node string) error {
	for {
		servers, err := c.cfg.Raft.Servers()
		if err == nil && indexOf(servers, node) < 0 {
			return nil
		}
		select {
		case <-time.After(20 * time.Millisecond):
		case <-ctx.Done():
			return core.Errorf(core.CodeTimeout, "node %q is leaving, but not out yet: %w", node, ctx.Err())
		}
	}
}

// Remove puts a member out by hand. One that lives should leave by itself, unless forced.
func (c *Cluster) Remove(ctx context.Context, meta core.Meta, node string, force bool) (core.Receipt, error) {
	view := c.cfg.State.View()
	m, err := state.Members.Find(view, node)
	if err != nil {
		return core.Receipt{}, err
	}
	if m.State == core.MemberRemoved {
		return core.Receipt{}, core.Errorf(core.CodeConflict, "node %q was removed at %s", node, m.Since.Format(time.RFC3339)).WithObject(core.KindMember, node)
	}
	if node == c.cfg.Node {
		if err := c.mayGo(node); err != nil {
			return core.Receipt{}, err
		}
		return core.Receipt{}, core.Errorf(core.CodeConflict, "node %q leads: it cannot put itself out", node).WithObject(core.KindMember, node).
			WithHint("run this there: instar cluster leave")
	}
	if c.lives(view, node) && !force {
		return core.Receipt{}, core.Errorf(core.CodeConflict, "node %q is there and answers", node).WithObject(core.KindMember, node).
			WithHint("run this there: instar cluster leave -drain. To put it out all the same: instar cluster remove -force %s", node)
	}
	if err := c.mayGo(node); err != nil {
		return core.Receipt{}, err
	}
	meta.Verb = "cluster.remove"
	reason := meta.Reason
	if reason == "" {
		reason = "removed by " + meta.Principal
	}
	return c.update(ctx, meta, func(tx *state.Tx) error {
		m, err := state.Members.Find(tx, node)
		if err != nil {
			return err
		}
		m.State, m.Since, m.Reason = core.MemberLeaving, c.now().UTC(), reason
		state.Members.Put(tx, node, m)
		return nil
	})
}
