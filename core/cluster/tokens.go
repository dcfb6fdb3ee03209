package cluster

import (
	"context"
	"slices"
	"time"

	"github.com/instarhq/instar/core"
	"github.com/instarhq/instar/core/identity/token"
	"github.com/instarhq/instar/core/state"
)

// The defaults and bounds of join tokens.
const (
	TokenLifetime = time.Hour
	TokenUses     = 10
	maxLifetime   = 30 * 24 * time.Hour
	maxUses       = 1000
	maxAddresses  = 16
)

// complete fills in the defaults, and refuses what is out of bounds.
func complete(r *core.JoinTokenRequest) error {
	if r.Role == "" {
		r.Role = core.RoleVoter
	}
	if r.Role != core.RoleVoter && r.Role != core.RoleWorker {
		return core.Errorf(core.CodeInvalid, "role %q: a member is a %s or a %s", r.Role, core.RoleVoter, core.RoleWorker)
	}
	if r.Expires == 0 {
		r.Expires = core.Duration(TokenLifetime)
	}
	if r.Expires < 0 || r.Expires.Std() > maxLifetime {
		return core.Errorf(core.CodeInvalid, "a join token expires after at most %s, not %s", maxLifetime, r.Expires)
	}
	if r.Uses == 0 {
		r.Uses = TokenUses
	}
	if r.Node != "" {
		if err := core.CheckName("node", r.Node); err != nil {
			return err
		}
		r.Uses = 1
	}
	if r.Uses < 0 || r.Uses > maxUses {
		return core.Errorf(core.CodeInvalid, "a join token has at most %d uses, not %d", maxUses, r.Uses)
	}
	return nil
}

// CreateToken makes a join token. Its text is in the answer and nowhere else.
func (c *Cluster) CreateToken(ctx context.Context, meta core.Meta, r core.JoinTokenRequest) (core.JoinTokenView, error) {
	var out core.JoinTokenView
	if err := complete(&r); err != nil {
		return out, err
	}
	authority, err := c.signer()
	if err != nil {
		return out, err
	}
	id, err := token.NewID()
	if err != nil {
		return out, err
	}
	secret, err := token.NewSecret()
	if err != nil {
		return out, err
	}
	now := c.now().UTC()
	meta.Verb = "join_token.create"
	_, err = c.update(ctx, meta, func(tx *state.Tx) error {
		if _, there := object(tx); !there {
			return errNoCluster()
		}
		out.Token = core.JoinToken{
			Format: core.Format, ID: id, Role: r.Role, Secret: secret.Digest(), Created: now, CreatedBy: meta.Principal,
			Expires: now.Add(r.Expires.Std()), Uses: r.Uses, Node: r.Node,
		}
		state.JoinTokens.Put(tx, id, out.Token)
		out.Text, err = token.Join{ID: id, Secret: secret, CA: authority.Digest(), Addresses: c.doors(tx)}.Text()
		return err
	})
	return out, err
}

// doors are the addresses that a machine which joins tries: this node's, then the other voters'.
func (c *Cluster) doors(r state.Reader) []string {
	out := []string{c.cfg.Address}
	for name, m := range state.Members.All(r) {
		if name != c.cfg.Node && m.State == core.MemberActive && m.Role == core.RoleVoter && len(out) < maxAddresses {
			out = append(out, m.Address)
		}
	}
	return out
}

// Tokens lists the join tokens that can still be used.
func (c *Cluster) Tokens() []core.JoinToken {
	out := []core.JoinToken{}
	for _, t := range state.JoinTokens.All(c.cfg.State.View()) {
		if t.Expires.After(c.now()) {
			out = append(out, t)
		}
	}
	slices.SortFunc(out, func(a, b core.JoinToken) int { return a.Created.Compare(b.Created) })
	return out
}

// RevokeToken makes a join token useless.
func (c *Cluster) RevokeToken(ctx context.Context, meta core.Meta, id string) (core.Receipt, error) {
	meta.Verb = "join_token.revoke"
	return c.update(ctx, meta, func(tx *state.Tx) error {
		if _, err := state.JoinTokens.Find(tx, id); err != nil {
			return err
		}
		state.JoinTokens.Delete(tx, id)
		return nil
	})
}

func errNoCluster() error {
	return core.Errorf(core.CodeConflict, "this node is a cluster of its own").
		WithHint("instar cluster init lets other machines join it; instard needs a cluster block in its configuration for that")
}
