package cluster

import (
	"context"
	"fmt"
	"net/http"
	"slices"
	"sync"
	"time"

	"github.com/instarhq/instar/core"
	"github.com/instarhq/instar/core/state"
)

const (
	stepLimit  = 10 * time.Second // for one change of Raft's configuration
	probeLimit = 2 * time.Second  // for one question to a member
	// closeEnough is how many records a voter-to-be may be behind: what is written while it is asked.
	closeEnough = 64
)

// Lead does what the leader does for the members, until ctx ends with the leadership. Every round looks at
// what the store says and what Raft has, and takes the steps that are missing between the two.
func (c *Cluster) Lead(ctx context.Context) error {
	clear(c.steady)
	clear(c.gone)
	watch := c.cfg.State.Watch()
	defer watch.Stop()
	if err := c.cfg.State.Ready(ctx); err != nil {
		return err
	}
	tick := time.NewTicker(c.cfg.Every)
	defer tick.Stop()
	for {
		c.round(ctx)
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-tick.C:
		}
		watch.Take()
	}
}

// round takes one step of each kind. What fails is tried again in the next.
func (c *Cluster) round(ctx context.Context) {
	for _, step := range []struct {
		what string
		do   func(context.Context, *state.View, core.Cluster, []Server) error
	}{
		{"put out the members that a restore has left behind", c.outcast},
		{"get the CA's key", c.fetchAuthority},
		{"take in a new member", c.takeIn},
		{"let a member go", c.letGo},
		{"make a member a voter", c.promote},
		{"remove a dead voter", c.bury},
		{"raise the level of stored formats", c.raise},
		{"forget old certificates", c.prune},
	} {
		view := c.cfg.State.View() // with what the step before has done
		cluster, there := object(view)
		if !there || ctx.Err() != nil {
			return
		}
		servers, err := c.cfg.Raft.Servers()
		if err == nil {
			err = step.do(ctx, view, cluster, servers)
		}
		if err != nil && ctx.Err() == nil {
			c.log.Warn("cannot "+step.what, "error", err)
		}
	}
}

// takeIn adds active members to Raft.
func (c *Cluster) takeIn(ctx context.Context, view *state.View, _ core.Cluster, servers []Server) error {
	for name, m := range state.Members.All(view) {
		if m.State != core.MemberActive || indexOf(servers, name) >= 0 {
			continue
		}
		if err := limited(ctx, name, c.cfg.Raft.AddNonvoter); err != nil {
			return fmt.Errorf("%s: %w", name, err)
		}
	}
	return nil
}

// limited makes one change of Raft's configuration, which must not hold up the others for ever.
func limited(ctx context.Context, node string, change func(context.Context, string) error) error {
	ctx, cancel := context.WithTimeout(ctx, stepLimit)
	defer cancel()
	return change(ctx, node)
}

// letGo takes members that leave out of Raft, then makes them removed ones. In this order: a voter whose
// certificate is refused while it counts would be missing in the quorum.
func (c *Cluster) letGo(ctx context.Context, view *state.View, _ core.Cluster, servers []Server) error {
	for _, s := range servers {
		m, there := state.Members.Get(view, s.Node)
		if s.Node == c.cfg.Node || (there && m.State == core.MemberActive) {
			continue
		}
		if err := limited(ctx, s.Node, c.cfg.Raft.Remove); err != nil {
			return fmt.Errorf("%s: %w", s.Node, err)
		}
		servers = slices.DeleteFunc(slices.Clone(servers), func(other Server) bool { return other == s })
	}
	for name, m := range state.Members.All(view) {
		if m.State != core.MemberLeaving || indexOf(servers, name) >= 0 || !c.saidGoodbye(name) {
			continue
		}
		if err := c.revoke(ctx, name, m.Reason); err != nil {
			return fmt.Errorf("%s: %w", name, err)
		}
		c.log.Info("a node is no member any more", "node", name, "reason", m.Reason)
	}
	return nil
}

// goodbye is for how long a member that is out of Raft is still believed: it waits for the answer to its
// wish to leave.
const goodbye = time.Second

// saidGoodbye reports whether a member has been out for long enough.
func (c *Cluster) saidGoodbye(node string) bool {
	since, known := c.gone[node]
	if !known {
		c.gone[node] = c.now()
		return false
	}
	if c.now().Sub(since) < goodbye {
		return false
	}
	delete(c.gone, node)
	return true
}

// revoke makes a member a removed one: its certificates are refused from now on, and what it has said of
// itself goes.
func (c *Cluster) revoke(ctx context.Context, node, reason string) error {
	_, err := c.update(ctx, core.Meta{Principal: controller, Verb: "cluster.removed", Reason: reason}, func(tx *state.Tx) error {
		m, there := state.Members.Get(tx, node)
		if !there || m.State == core.MemberRemoved {
			return nil
		}
		m.State, m.Since, m.Reason, m.Drain = core.MemberRemoved, c.now().UTC(), reason, nil
		m.Certificates = slices.Clone(m.Certificates)
		for i := range m.Certificates {
			m.Certificates[i].Revoked = true
		}
		state.Members.Put(tx, node, m)
		state.Nodes.Delete(tx, node)
		for id := range state.Drivers.By(tx, state.ByNode, node) {
			state.Drivers.Delete(tx, id)
		}
		return nil
	})
	return err
}

// promote makes one member a voter that is meant to be one and has kept up for a while, after it has got
// the CA's key. A voter that is to be a worker is demoted.
func (c *Cluster) promote(ctx context.Context, view *state.View, _ core.Cluster, servers []Server) error {
	var candidates []string
	for _, s := range servers {
		m, there := state.Members.Get(view, s.Node)
		switch {
		case !there || m.State != core.MemberActive:
		case s.Voter && m.Role == core.RoleWorker && s.Node != c.cfg.Node:
			if err := limited(ctx, s.Node, c.cfg.Raft.Demote); err != nil {
				return fmt.Errorf("%s: %w", s.Node, err)
			}
		case !s.Voter && m.Role == core.RoleVoter:
			candidates = append(candidates, s.Node)
		}
	}
	ready := c.keepUp(ctx, candidates)
	if ready == "" {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, stepLimit)
	defer cancel()
	if err := c.handOver(ctx, ready); err != nil {
		return fmt.Errorf("%s: hand over the CA's key: %w", ready, err)
	}
	if err := c.cfg.Raft.AddVoter(ctx, ready); err != nil {
		return fmt.Errorf("%s: %w", ready, err)
	}
	c.log.Info("a member votes from now on", "node", ready)
	return nil
}

// keepUp asks candidates how far they are, and names one that has kept up for long enough.
func (c *Cluster) keepUp(ctx context.Context, candidates []string) string {
	for node := range c.steady {
		if !slices.Contains(candidates, node) {
			delete(c.steady, node)
		}
	}
	replicas := make([]core.Replica, len(candidates))
	errs := make([]error, len(candidates))
	var group sync.WaitGroup
	for i, node := range candidates {
		group.Go(func() { replicas[i], errs[i] = c.probe(ctx, node) })
	}
	own := c.cfg.Raft.Replica() // before the answers: they are compared with what had been written then
	group.Wait()
	ready := ""
	for i, node := range candidates {
		if errs[i] != nil || replicas[i].Origin != own.Origin || replicas[i].Seq+closeEnough < own.Seq {
			delete(c.steady, node)
			continue
		}
		since, known := c.steady[node]
		if !known {
			c.steady[node] = c.now()
		} else if ready == "" && c.now().Sub(since) >= c.cfg.Stable {
			ready = node
		}
	}
	return ready
}

func (c *Cluster) probe(ctx context.Context, node string) (core.Replica, error) {
	ctx, cancel := context.WithTimeout(ctx, probeLimit)
	defer cancel()
	var r core.Replica
	err := c.callNode(ctx, node, http.MethodGet, replicaPath, nil, &r)
	return r, err
}

// handOver gives the CA's key to a member.
func (c *Cluster) handOver(ctx context.Context, node string) error {
	authority, err := c.signer()
	if err != nil {
		return err
	}
	pem, err := authority.Marshal()
	if err != nil {
		return err
	}
	return c.callNode(ctx, node, http.MethodPut, authorityPath, authorityBody{PEM: pem}, nil)
}

// fetchAuthority asks the other voters for the CA's key if it is not here.
func (c *Cluster) fetchAuthority(ctx context.Context, _ *state.View, _ core.Cluster, servers []Server) error {
	if _, err := c.signer(); err == nil {
		return nil
	}
	var last error
	alone := true
	for _, s := range servers {
		if !s.Voter || s.Node == c.cfg.Node {
			continue
		}
		alone = false
		one, cancel := context.WithTimeout(ctx, probeLimit)
		var body authorityBody
		err := c.callNode(one, s.Node, http.MethodGet, authorityPath, nil, &body)
		cancel()
		if err == nil {
			err = c.checkedAuthority(body.PEM)
		}
		if err == nil {
			return nil
		}
		last = err
	}
	if alone {
		return c.renewAuthority(ctx)
	}
	return last
}

func indexOf(servers []Server, node string) int {
	return slices.IndexFunc(servers, func(s Server) bool { return s.Node == node })
}
