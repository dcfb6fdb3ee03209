package cluster

import (
	"context"
	"fmt"
	"slices"

	"github.com/instarhq/instar/core"
	"github.com/instarhq/instar/core/state"
)

// leastVoters is how many voters must remain when the leader removes a dead one by itself: with two left,
// nothing is won, and the dead one could not come back any more.
const leastVoters = 3

// bury removes a voter that has been away for longer than DeadAfter, if those who remain are enough and
// most of them live.
func (c *Cluster) bury(ctx context.Context, view *state.View, cluster core.Cluster, servers []Server) error {
	if cluster.DeadAfter <= 0 {
		return nil
	}
	for _, s := range servers {
		status, away := state.NodeStatuses.Get(view, s.Node)
		m, there := state.Members.Get(view, s.Node)
		if !s.Voter || !there || m.State != core.MemberActive || !away || status.State != core.NodeDown || s.Node == c.cfg.Node {
			continue
		}
		gone := c.cfg.Steady().Sub(status.Since)
		if gone < cluster.DeadAfter.Std() {
			continue
		}
		voters, alive := c.without(view, servers, s.Node)
		if voters < leastVoters || alive <= voters/2 {
			continue
		}
		reason := fmt.Sprintf("away since %s, for longer than %s", status.Since.Format("2006-01-02 15:04:05Z07:00"), cluster.DeadAfter)
		c.log.Warn("removing a dead voter", "node", s.Node, "reason", reason)
		return c.leave(ctx, core.Meta{Principal: controller, Verb: "cluster.bury"}, s.Node, reason)
	}
	return nil
}

// without counts the voters that there would be without one, and how many of those live.
func (c *Cluster) without(r state.Reader, servers []Server, node string) (voters, alive int) {
	for _, s := range servers {
		if !s.Voter || s.Node == node {
			continue
		}
		voters++
		if c.lives(r, s.Node) {
			alive++
		}
	}
	return voters, alive
}

// lives reports whether a member is there as far as the leader has seen.
func (c *Cluster) lives(r state.Reader, node string) bool {
	if node == c.cfg.Node {
		return true
	}
	m, there := state.Members.Get(r, node)
	status, amiss := state.NodeStatuses.Get(r, node)
	return there && m.State == core.MemberActive && (!amiss || status.State == core.NodeReady)
}

// leave marks a member as one that goes; letGo does the rest.
func (c *Cluster) leave(ctx context.Context, meta core.Meta, node, reason string) error {
	_, err := c.update(ctx, meta, func(tx *state.Tx) error {
		m, err := state.Members.Find(tx, node)
		if err != nil {
			return err
		}
		if m.State == core.MemberActive {
			m.State, m.Since, m.Reason = core.MemberLeaving, c.now().UTC(), reason
			state.Members.Put(tx, node, m)
		}
		return nil
	})
	return err
}

// raise lets the cluster use newer stored formats once every member has said that it reads them.
func (c *Cluster) raise(ctx context.Context, view *state.View, cluster core.Cluster, _ []Server) error {
	level := c.cfg.Level
	for name, m := range state.Members.All(view) {
		if m.State == core.MemberRemoved {
			continue
		}
		node, there := state.Nodes.Get(view, name)
		if !there {
			return nil // it has said nothing yet
		}
		level = min(level, max(node.Level, 1))
	}
	if level <= cluster.Level {
		return nil
	}
	_, err := c.update(ctx, core.Meta{Principal: controller, Verb: "cluster.raise", Reason: fmt.Sprintf("every member reads level %d", level)},
		func(tx *state.Tx) error {
			now, there := object(tx)
			if there && now.Level < level {
				now.Level = level
				state.Clusters.Put(tx, core.ClusterObject, now)
			}
			return nil
		})
	return err
}

// prune forgets certificates that have expired, removed members that have none left, and join tokens that
// nobody can use.
func (c *Cluster) prune(ctx context.Context, view *state.View, _ core.Cluster, _ []Server) error {
	now := c.now()
	stale := func(r state.Reader) (members []core.Member, tokens []string) {
		for _, m := range state.Members.All(r) {
			if slices.ContainsFunc(m.Certificates, func(x core.Certificate) bool { return now.After(x.NotAfter) }) {
				members = append(members, m)
			}
		}
		for id, t := range state.JoinTokens.All(r) {
			if now.After(t.Expires) {
				tokens = append(tokens, id)
			}
		}
		return members, tokens
	}
	if members, tokens := stale(view); len(members)+len(tokens) == 0 {
		return nil
	}
	_, err := c.update(ctx, core.Meta{Principal: controller, Verb: "cluster.prune"}, func(tx *state.Tx) error {
		members, tokens := stale(tx)
		for _, m := range members {
			m.Certificates = slices.DeleteFunc(slices.Clone(m.Certificates), func(x core.Certificate) bool { return now.After(x.NotAfter) })
			if m.State == core.MemberRemoved && len(m.Certificates) == 0 {
				state.Members.Delete(tx, m.Name)
				continue
			}
			state.Members.Put(tx, m.Name, m)
		}
		for _, id := range tokens {
			state.JoinTokens.Delete(tx, id)
		}
		return nil
	})
	return err
}

// outcast puts out every other member after a restore with which this node begins its cluster anew: what
// the others have, if they have anything, is another history.
func (c *Cluster) outcast(ctx context.Context, view *state.View, _ core.Cluster, _ []Server) error {
	if c.phase() != PhaseRecovered {
		return nil
	}
	const reason = "left behind by a restore"
	for name, m := range state.Members.All(view) {
		if name != c.cfg.Node && m.State != core.MemberRemoved {
			if err := c.revoke(ctx, name, reason); err != nil {
				return err
			}
		}
	}
	if err := c.recertify(ctx); err != nil {
		return err
	}
	return c.remember(func(r *Record) {
		r.Phase, r.Role, r.Peers = PhaseMember, core.RoleVoter, map[string]string{c.cfg.Node: c.cfg.Address}
	})
}

// recertify makes this node a voter with a CA and a certificate of its own: the snapshot has neither key.
func (c *Cluster) recertify(ctx context.Context) error {
	certificate, err := c.ownCertificate()
	if err != nil {
		return err
	}
	authority, err := c.signer()
	if err != nil {
		return err
	}
	_, err = c.update(ctx, core.Meta{Principal: controller, Verb: "cluster.restored"}, func(tx *state.Tx) error {
		cluster, _ := object(tx)
		cluster.CA = []string{authority.PEM()}
		state.Clusters.Put(tx, core.ClusterObject, cluster)
		m, there := state.Members.Get(tx, c.cfg.Node)
		if !there {
			m = core.Member{Format: core.Format, Name: c.cfg.Node, Joined: c.now().UTC()}
		}
		m.Role, m.State, m.Address, m.Since, m.Reason = core.RoleVoter, core.MemberActive, c.cfg.Address, c.now().UTC(), "restored"
		m.Certificates = append(slices.Clone(m.Certificates), certificate)
		state.Members.Put(tx, c.cfg.Node, m)
		return nil
	})
	return err
}

// renewAuthority makes another CA, for a cluster whose only voter does not have the key of the old one: a
// worker from which the cluster was recovered. Members that are left keep their certificates, which the old
// CA's certificate still vouches for, until they renew them.
func (c *Cluster) renewAuthority(ctx context.Context) error {
	certificate, err := c.ownCertificate()
	if err != nil {
		return err
	}
	authority, err := c.signer()
	if err != nil {
		return err
	}
	c.log.Warn("nobody has the CA's key: the cluster has another CA from now on")
	_, err = c.update(ctx, core.Meta{Principal: controller, Verb: "cluster.authority", Reason: "the key of the old one is lost"}, func(tx *state.Tx) error {
		cluster, _ := object(tx)
		cluster.CA = append([]string{authority.PEM()}, cluster.CA...)
		state.Clusters.Put(tx, core.ClusterObject, cluster)
		m, err := state.Members.Find(tx, c.cfg.Node)
		if err != nil {
			return err
		}
		m.Certificates = append(slices.Clone(m.Certificates), certificate)
		state.Members.Put(tx, c.cfg.Node, m)
		return nil
	})
	return err
}
