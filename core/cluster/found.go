package cluster

import (
	"context"

	"github.com/instarhq/instar/core"
	"github.com/instarhq/instar/core/identity/ca"
	"github.com/instarhq/instar/core/state"
)

// Init makes a cluster of this node, whose store may be new or full. Every step finds what an earlier
// attempt has done, so it can be repeated after a crash at any point.
func (c *Cluster) Init(ctx context.Context, meta core.Meta) (core.Joined, error) {
	if _, there := object(c.cfg.State.View()); there {
		if c.phase() == PhaseMember {
			return core.Joined{}, core.Errorf(core.CodeConflict, "node %q is a member of the cluster %q already", c.cfg.Node, c.cfg.Raft.ClusterName()).
				WithHint("instar cluster token create makes a token for other machines to join")
		}
		return c.founded(), c.remember(c.become)
	}
	if !c.cfg.Raft.IsLeader() {
		return core.Joined{}, core.Errorf(core.CodeUnavailable, "node %q does not lead its own store yet", c.cfg.Node)
	}
	if err := c.remember(func(r *Record) {
		r.Phase, r.Name, r.ID, r.Role = PhaseFounding, c.cfg.Raft.ClusterName(), c.cfg.Raft.ClusterID(), core.RoleVoter
	}); err != nil {
		return core.Joined{}, err
	}
	certificate, err := c.ownCertificate()
	if err != nil {
		return core.Joined{}, err
	}
	meta.Verb = "cluster.init"
	if _, err := c.update(ctx, meta, func(tx *state.Tx) error {
		if _, there := object(tx); there {
			return nil
		}
		state.Clusters.Put(tx, core.ClusterObject, core.Cluster{
			Format: core.Format, CA: []string{c.authority.PEM()}, Level: c.cfg.Level,
			DeadAfter: core.Duration(c.cfg.DeadAfter), NodeGrace: core.Duration(c.cfg.NodeGrace),
		})
		now := c.now().UTC()
		state.Members.Put(tx, c.cfg.Node, core.Member{
			Format: core.Format, Name: c.cfg.Node, Role: core.RoleVoter, Address: c.cfg.Address,
			State: core.MemberActive, Joined: now, Since: now, Certificates: []core.Certificate{certificate},
		})
		return nil
	}); err != nil {
		return core.Joined{}, err
	}
	c.log.Info("the cluster has begun", "cluster", c.cfg.Raft.ClusterName(), "id", c.cfg.Raft.ClusterID(), "address", c.cfg.Address)
	return c.founded(), c.remember(c.become)
}

func (c *Cluster) founded() core.Joined {
	out := core.Joined{
		Node: c.cfg.Node, Cluster: c.cfg.Raft.ClusterName(), ID: c.cfg.Raft.ClusterID(), Role: core.RoleVoter, Address: c.cfg.Address,
	}
	if authority, err := c.signer(); err == nil {
		out.CA = authority.Digest()
	}
	return out
}

// become is the record of a node that is a member.
func (c *Cluster) become(r *Record) {
	r.Phase, r.Name, r.ID = PhaseMember, c.cfg.Raft.ClusterName(), c.cfg.Raft.ClusterID()
	if r.Role == "" {
		r.Role = core.RoleVoter
	}
	if r.Peers == nil {
		r.Peers = map[string]string{}
	}
	r.Peers[c.cfg.Node] = c.cfg.Address
}

// ownCertificate makes the CA and this node's certificate under it, or finds them made.
func (c *Cluster) ownCertificate() (core.Certificate, error) {
	authority, err := c.signer()
	if err != nil {
		if authority, err = ca.New(c.cfg.Raft.ClusterName(), c.cfg.Raft.ClusterID(), c.now()); err != nil {
			return core.Certificate{}, err
		}
		if err := c.takeAuthority(authority); err != nil {
			return core.Certificate{}, err
		}
	}
	csr, err := c.cfg.Keeper.Request(c.cfg.Node, c.names())
	if err != nil {
		return core.Certificate{}, err
	}
	issued, err := authority.SignNode(csr, c.cfg.Node, c.now())
	if err != nil {
		return core.Certificate{}, err
	}
	bundle := []string{authority.PEM()}
	if cluster, there := object(c.cfg.State.View()); there {
		bundle = append(bundle, cluster.CA...)
	}
	return issued.Record(), c.cfg.Keeper.Install(issued.PEM, bundle)
}

// names are the host names and addresses for the node's certificate.
func (c *Cluster) names() []string { return append([]string{c.cfg.Address}, c.cfg.API...) }
