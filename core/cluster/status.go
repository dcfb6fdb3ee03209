package cluster

import (
	"context"
	"sync"
	"time"

	"github.com/instarhq/instar/core"
	"github.com/instarhq/instar/core/state"
)

// statusLimit is how long a status waits for each member, all at the same time.
const statusLimit = time.Second

// Status looks at all members, asking each one how far it is.
func (c *Cluster) Status(ctx context.Context) (core.ClusterStatus, error) {
	view := c.cfg.State.View()
	own := c.Replica()
	out := core.ClusterStatus{
		Node: c.cfg.Node, Origin: own.Origin, Leader: c.cfg.Raft.Leader(), Term: own.Term, Seq: own.Seq,
		Members: []core.MemberView{}, Risks: []core.Risk{},
	}
	servers, err := c.cfg.Raft.Servers()
	if err != nil {
		return out, err
	}
	if r, there := state.Recoveries.Get(view, core.RecoveryObject); there {
		out.Recovery = &r
	}
	cluster, there := object(view)
	if !there {
		return alone(out, own, c.cfg.Address), nil
	}
	out.Level = cluster.Level
	for name, m := range state.Members.All(view) {
		if m.State != core.MemberRemoved {
			out.Members = append(out.Members, c.memberView(view, name, m, servers, out.Leader))
		}
	}
	c.askAll(ctx, out.Members, own)
	for _, m := range out.Members {
		if m.Replica != nil && m.Replica.Origin == out.Origin {
			out.Seq = max(out.Seq, m.Replica.Seq)
		}
	}
	for i := range out.Members {
		if r := out.Members[i].Replica; r != nil && r.Seq < out.Seq {
			out.Members[i].Lag = out.Seq - r.Seq
		}
	}
	count(&out)
	out.Risks = risks(&out, c.now())
	return out, nil
}

// alone is the status of a node that is a cluster of its own.
func alone(out core.ClusterStatus, own core.Replica, address string) core.ClusterStatus {
	m := core.Member{Name: own.Node, Role: core.RoleVoter, Address: address, State: core.MemberActive}
	out.Members = append(out.Members, core.MemberView{Member: m, Leader: out.Leader == own.Node, Voter: true, Reachable: true, Replica: &own})
	count(&out)
	out.Risks = []core.Risk{{
		Severity: core.SeverityNotice, Node: own.Node, Message: "this node is a cluster of its own: nothing can join it",
		Hint: "with a cluster block in the configuration of instard: instar cluster init",
	}}
	return out
}

func (c *Cluster) memberView(r state.Reader, name string, m core.Member, servers []Server, leader string) core.MemberView {
	v := core.MemberView{Member: m, Leader: name == leader}
	if i := indexOf(servers, name); i >= 0 {
		v.Voter = servers[i].Voter
	}
	if status, ok := state.NodeStatuses.Get(r, name); ok {
		v.Status = &status
	}
	if node, ok := state.Nodes.Get(r, name); ok {
		v.API = node.API
	}
	for range state.Instances.By(r, state.ByNode, name) {
		v.Instances++
	}
	for _, certificate := range m.Certificates {
		if !certificate.Revoked && certificate.NotAfter.After(v.Expires) {
			v.Expires = certificate.NotAfter
		}
	}
	return v
}

// askAll asks every member what it says of itself.
func (c *Cluster) askAll(ctx context.Context, members []core.MemberView, own core.Replica) {
	ctx, cancel := context.WithTimeout(ctx, statusLimit)
	defer cancel()
	var group sync.WaitGroup
	for i := range members {
		m := &members[i]
		group.Go(func() {
			r, err := own, error(nil)
			if m.Member.Name != c.cfg.Node {
				r, err = c.probe(ctx, m.Member.Name)
			}
			if err != nil {
				m.Error = err.Error()
				return
			}
			m.Reachable, m.Replica = true, &r
			if !r.Expires.IsZero() {
				m.Expires = r.Expires
			}
		})
	}
	group.Wait()
}

// count counts voters, and how many more may fail.
func count(s *core.ClusterStatus) {
	reachable := 0
	for _, m := range s.Members {
		if m.Voter {
			s.Voters++
			if m.Reachable {
				reachable++
			}
		}
	}
	s.Quorum = s.Voters/2 + 1
	s.Tolerates = max(0, reachable-s.Quorum)
}
