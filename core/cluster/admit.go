package cluster

import (
	"context"
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"net"
	"slices"
	"time"

	"github.com/instarhq/instar/core"
	"github.com/instarhq/instar/core/identity/token"
	"github.com/instarhq/instar/core/state"
)

// application is what a machine that wants to be a member sends.
type application struct {
	Token   string `json:"token"` // its id
	Secret  []byte `json:"secret"`
	Node    string `json:"node"`
	Address string `json:"address"` // where the members reach it
	Level   int    `json:"level"`
	Version string `json:"version"`
	CSR     []byte `json:"csr"` // PEM
}

// admission is the answer to a new member.
type admission struct {
	Certificate string            `json:"certificate"`
	Bundle      []string          `json:"bundle"`
	Name        string            `json:"name"` // of the cluster
	ID          string            `json:"id"`
	Role        core.Role         `json:"role"`
	Peers       map[string]string `json:"peers"`
}

// admit makes a machine a member, on the leader. The token is checked and used up in the transaction that
// writes the member. A machine whose answer was lost may ask again with the same key.
func (c *Cluster) admit(ctx context.Context, a *application) (admission, error) {
	var out admission
	key, err := a.check()
	if err != nil {
		return out, err
	}
	authority, err := c.signer()
	if err != nil {
		return out, err
	}
	issued, err := authority.SignNode(a.CSR, a.Node, c.now())
	if err != nil {
		return out, err
	}
	because := fmt.Sprintf("joined with token %s and key %s", a.Token, key.Short())
	meta := core.Meta{Principal: "join:" + a.Node, Verb: "cluster.join", RequestID: "join-" + a.Token + "-" + string(key), Reason: because}
	receipt, err := c.update(ctx, meta, func(tx *state.Tx) error { return c.enter(tx, a, issued.Record(), because) })
	if err == nil && receipt.Replayed {
		_, err = c.update(ctx, core.Meta{Principal: meta.Principal, Verb: "cluster.certify", Cause: receipt.Seq}, func(tx *state.Tx) error {
			m, there := state.Members.Get(tx, a.Node)
			if !there || m.State != core.MemberActive || m.Reason != because {
				return core.Errorf(core.CodeDenied, "node %q is not the member any more that it was with this key", a.Node).
					WithHint("remove its data directory, and join with a new token")
			}
			m.Certificates = append(slices.Clone(m.Certificates), issued.Record())
			state.Members.Put(tx, a.Node, m)
			return nil
		})
	}
	if err != nil {
		return out, err
	}
	view := c.cfg.State.View()
	m, _ := state.Members.Get(view, a.Node)
	cluster, _ := object(view)
	out = admission{
		Certificate: issued.PEM, Bundle: cluster.CA, Name: c.cfg.Raft.ClusterName(), ID: c.cfg.Raft.ClusterID(), Role: m.Role,
		Peers: map[string]string{},
	}
	for name, peer := range state.Members.All(view) {
		if peer.State != core.MemberRemoved {
			out.Peers[name] = peer.Address
		}
	}
	c.log.Info("a node has joined", "node", a.Node, "address", a.Address, "role", m.Role, "version", a.Version)
	return out, nil
}

// check refuses what no state of the cluster could make right, and gives the digest of the machine's key.
func (a *application) check() (core.Digest, error) {
	if err := core.CheckName("node", a.Node); err != nil {
		return "", err
	}
	if err := checkAddress(a.Address); err != nil {
		return "", err
	}
	block, _ := pem.Decode(a.CSR)
	if block == nil || block.Type != "CERTIFICATE REQUEST" {
		return "", core.Errorf(core.CodeInvalid, "the certificate request is not PEM")
	}
	csr, err := x509.ParseCertificateRequest(block.Bytes)
	if err == nil {
		err = csr.CheckSignature()
	}
	if err != nil {
		return "", core.Errorf(core.CodeInvalid, "the certificate request: %w", err)
	}
	return core.DigestBytes(csr.RawSubjectPublicKeyInfo), nil
}

// checkAddress refuses an address that nobody could reach a node by.
func checkAddress(address string) error {
	host, port, err := net.SplitHostPort(address)
	if err != nil || host == "" || port == "" || port == "0" {
		return core.Errorf(core.CodeInvalid, "cluster address %q is not HOST:PORT", address)
	}
	if ip := net.ParseIP(host); ip != nil && ip.IsUnspecified() {
		return core.Errorf(core.CodeInvalid, "cluster address %q says nothing about where the node is", address).
			WithHint("set cluster { advertise = \"10.0.0.1:4748\" } in its configuration")
	}
	return nil
}

// enter writes the member and uses the token, if all is as it should be.
func (c *Cluster) enter(tx *state.Tx, a *application, certificate core.Certificate, because string) error {
	cluster, there := object(tx)
	if !there {
		return errNoCluster()
	}
	t, err := c.useToken(tx, a)
	if err != nil {
		return err
	}
	if a.Level < cluster.Level {
		return core.Errorf(core.CodeUnsupported, "node %q (instard %s) reads stored formats up to level %d, the cluster is at level %d", a.Node, a.Version, a.Level, cluster.Level).
			WithHint("%s", needed(tx, cluster.Level))
	}
	var old []core.Certificate
	for name, m := range state.Members.All(tx) {
		switch {
		case name == a.Node && m.State == core.MemberLeaving:
			e := core.Errorf(core.CodeUnavailable, "node %q is leaving and not gone yet", name)
			e.RetryAfter = time.Second
			return e
		case name == a.Node && m.State != core.MemberRemoved:
			return core.Errorf(core.CodeConflict, "the cluster has a node %q already, at %s", name, m.Address).WithObject(core.KindMember, name).
				WithHint("if that node is lost, first: instar cluster remove %s; else give this one another name", name)
		case name == a.Node:
			old = m.Certificates
		case m.Address == a.Address && m.State != core.MemberRemoved:
			return core.Errorf(core.CodeConflict, "node %q is at %s already", name, m.Address).WithObject(core.KindMember, name).
				WithHint("each node needs an address of its own: cluster { advertise = … }")
		}
	}
	now := c.now().UTC()
	state.Members.Put(tx, a.Node, core.Member{
		Format: core.Format, Name: a.Node, Role: t.Role, Address: a.Address, State: core.MemberActive,
		Joined: now, Since: now, Reason: because, Certificates: append(slices.Clone(old), certificate),
	})
	return nil
}

// useToken checks the token and takes one use from it.
func (c *Cluster) useToken(tx *state.Tx, a *application) (core.JoinToken, error) {
	denied := func(why string) error {
		return core.Errorf(core.CodeDenied, "the join token %s", why).WithHint("instar cluster token create, on a member, makes a new one")
	}
	var secret token.Secret
	t, there := state.JoinTokens.Get(tx, a.Token)
	right := len(a.Secret) == len(secret)
	copy(secret[:], a.Secret)
	switch {
	case !there || !right || !secret.Matches(t.Secret):
		return t, denied("is not known: it is wrong, revoked or used up")
	case !c.now().Before(t.Expires):
		return t, denied("expired at " + t.Expires.Format(time.RFC3339))
	case t.Uses <= 0:
		return t, denied("is used up")
	case t.Node != "" && t.Node != a.Node:
		return t, denied(fmt.Sprintf("is for node %q only", t.Node))
	}
	t.Uses--
	t.Joined = append(slices.Clone(t.Joined), a.Node)
	if t.Uses == 0 {
		state.JoinTokens.Delete(tx, t.ID)
	} else {
		state.JoinTokens.Put(tx, t.ID, t)
	}
	return t, nil
}
