package cluster

import (
	"context"
	"net/http"
	"slices"

	"github.com/instarhq/instar/core"
	"github.com/instarhq/instar/core/identity/ca"
	"github.com/instarhq/instar/core/mesh"
	"github.com/instarhq/instar/core/state"
)

// What members ask of each other over instar-rpc/1.
const (
	renewPath     = "/cluster/renew"
	addressPath   = "/cluster/address"
	leavePath     = "/cluster/leave"
	drainPath     = "/cluster/drain"
	replicaPath   = "/cluster/replica"
	authorityPath = "/cluster/authority"
)

type renewRequest struct {
	CSR []byte `json:"csr"`
}

type renewAnswer struct {
	Certificate string   `json:"certificate"`
	Bundle      []string `json:"bundle"`
}

type addressRequest struct {
	Address string `json:"address"`
}

type leaveRequest struct {
	Reason    string `json:"reason,omitempty"`
	Principal string `json:"principal,omitempty"`
}

type authorityBody struct {
	PEM []byte `json:"pem"` // certificate and key
}

// handle registers what other members may ask.
func (c *Cluster) handle() {
	c.cfg.Mesh.HandleFunc("GET "+replicaPath, func(w http.ResponseWriter, _ *http.Request) { c.answer(w, c.Replica(), nil) })
	c.cfg.Mesh.HandleFunc("POST "+joinPath, serve(c, func(ctx context.Context, _ mesh.Peer, a application) (admission, error) {
		return c.admit(ctx, &a) // relayed by a member that had the machine at its door
	}))
	c.cfg.Mesh.HandleFunc("POST "+renewPath, serve(c, c.renew))
	c.cfg.Mesh.HandleFunc("POST "+addressPath, serve(c, c.move))
	c.cfg.Mesh.HandleFunc("POST "+drainPath, serve(c, c.drainPeer))
	c.cfg.Mesh.HandleFunc("POST "+leavePath, serve(c, c.dismiss))
	c.cfg.Mesh.HandleFunc("PUT "+authorityPath, c.putAuthority)
	c.cfg.Mesh.HandleFunc("GET "+authorityPath, c.getAuthority)
}

// serve makes a handler of what only the leader does.
func serve[Q, A any](c *Cluster, do func(context.Context, mesh.Peer, Q) (A, error)) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		var request Q
		if err := read(r, &request); err != nil {
			c.answer(w, nil, err)
			return
		}
		peer, _ := mesh.PeerOf(r.Context())
		if !c.cfg.Raft.IsLeader() {
			c.answer(w, nil, c.notLeader())
			return
		}
		out, err := do(r.Context(), peer, request)
		c.answer(w, out, err)
	}
}

// Replica is what this node says of itself.
func (c *Cluster) Replica() core.Replica {
	r := c.cfg.Raft.Replica()
	r.Node, r.Version, r.Level, r.Started = c.cfg.Node, c.cfg.Version, c.cfg.Level, c.started
	if self, ok := c.cfg.Keeper.Self(); ok {
		r.Expires = self.NotAfter
	}
	_, err := c.signer()
	r.CA = err == nil
	return r
}

// change edits the member that asks.
func (c *Cluster) change(ctx context.Context, peer mesh.Peer, verb, reason string, edit func(*state.Tx, *core.Member) error) error {
	meta := core.Meta{Principal: "agent:" + peer.Node, Verb: verb, Reason: reason}
	_, err := c.update(ctx, meta, func(tx *state.Tx) error {
		m, err := state.Members.Find(tx, peer.Node)
		if err != nil {
			return err
		}
		if m.State == core.MemberRemoved {
			return core.Errorf(core.CodeDenied, "node %q has been removed from the cluster", peer.Node)
		}
		return edit(tx, &m)
	})
	return err
}

// renew signs a member's next certificate.
func (c *Cluster) renew(ctx context.Context, peer mesh.Peer, request renewRequest) (renewAnswer, error) {
	authority, err := c.signer()
	if err != nil {
		return renewAnswer{}, err
	}
	issued, err := authority.SignNode(request.CSR, peer.Node, c.now())
	if err != nil {
		return renewAnswer{}, err
	}
	var bundle []string
	err = c.change(ctx, peer, "cluster.certify", "", func(tx *state.Tx, m *core.Member) error {
		cluster, _ := object(tx)
		bundle = cluster.CA
		m.Certificates = append(slices.Clone(m.Certificates), issued.Record())
		state.Members.Put(tx, m.Name, *m)
		return nil
	})
	return renewAnswer{Certificate: issued.PEM, Bundle: bundle}, err
}

// move writes a member's new address.
func (c *Cluster) move(ctx context.Context, peer mesh.Peer, request addressRequest) (struct{}, error) {
	if err := checkAddress(request.Address); err != nil {
		return struct{}{}, err
	}
	return struct{}{}, c.change(ctx, peer, "cluster.move", "the node is reached there from now on", func(tx *state.Tx, m *core.Member) error {
		for name, other := range state.Members.All(tx) {
			if name != m.Name && other.State != core.MemberRemoved && other.Address == request.Address {
				return core.Errorf(core.CodeConflict, "node %q is at %s", name, request.Address).WithObject(core.KindMember, name)
			}
		}
		if m.Address != request.Address {
			m.Address = request.Address
			state.Members.Put(tx, m.Name, *m)
		}
		return nil
	})
}

// putAuthority takes the CA's key from the leader, which is about to make this node a voter.
func (c *Cluster) putAuthority(w http.ResponseWriter, r *http.Request) {
	peer, _ := mesh.PeerOf(r.Context())
	var body authorityBody
	err := read(r, &body)
	if err == nil && !c.isVoter(peer.Node) {
		err = core.Errorf(core.CodeDenied, "node %q is no voter, the CA is not its to hand over", peer.Node)
	}
	if err == nil {
		err = c.checkedAuthority(body.PEM)
	}
	c.answer(w, struct{}{}, err)
}

// checkedAuthority keeps the CA that this node's own certificate is under.
func (c *Cluster) checkedAuthority(pem []byte) error {
	authority, err := ca.Parse(pem)
	if err != nil {
		return err
	}
	if !slices.Contains(c.cfg.Keeper.Bundle(), authority.PEM()) {
		return core.Errorf(core.CodeDenied, "this is not the CA of the cluster")
	}
	return c.takeAuthority(authority)
}

// getAuthority gives the CA's key to another voter that lacks it.
func (c *Cluster) getAuthority(w http.ResponseWriter, r *http.Request) {
	peer, _ := mesh.PeerOf(r.Context())
	if !c.isVoter(peer.Node) {
		c.answer(w, nil, core.Errorf(core.CodeDenied, "node %q is no voter, the CA's key is not for it", peer.Node))
		return
	}
	authority, err := c.signer()
	if err != nil {
		c.answer(w, nil, err)
		return
	}
	pem, err := authority.Marshal()
	c.answer(w, authorityBody{PEM: pem}, err)
}

// isVoter reports whether a member is meant to be a voter and votes.
func (c *Cluster) isVoter(node string) bool {
	m, there := state.Members.Get(c.cfg.State.View(), node)
	if !there || m.Role != core.RoleVoter || m.State == core.MemberRemoved {
		return false
	}
	servers, err := c.cfg.Raft.Servers()
	return err == nil && slices.Contains(servers, Server{Node: node, Voter: true})
}
