package cluster

import (
	"context"
	"net/http"
	"sync"
	"time"

	"github.com/instarhq/instar/core"
	"github.com/instarhq/instar/core/identity/keeper"
	"github.com/instarhq/instar/core/state"
)

// retry is how long a member waits before it tries again what the leader did not do.
const retry = 2 * time.Second

// Run does what every member does for itself, until ctx ends: it follows who the others are and where,
// closes connections of those who are out, keeps its certificate and the CA's fresh, and tells the
// leader when its own address has changed. A member that was removed ends with an error.
func (c *Cluster) Run(ctx context.Context) error {
	watch := c.cfg.State.Watch()
	defer watch.Stop()
	if err := c.cfg.State.Ready(ctx); err != nil {
		return err
	}
	ctx, cancel := context.WithCancel(ctx)
	var group sync.WaitGroup
	defer group.Wait()
	defer cancel()
	group.Go(func() { _ = c.serveDoor(ctx) }) // ends with ctx
	group.Go(func() {
		_ = c.cfg.Keeper.Renew(ctx, keeper.Renewal{Addresses: c.names, Sign: c.sign, Logger: c.log}) // ends with ctx
	})
	moved := false
	for {
		if err := c.follow(); err != nil {
			return err
		}
		again := time.Duration(1<<63 - 1)
		if !moved {
			if moved = c.announce(ctx); !moved {
				again = retry
			}
		}
		timer := time.NewTimer(again)
		select {
		case <-ctx.Done():
		case <-watch.Changed():
			watch.Take()
		case <-timer.C:
		}
		timer.Stop()
		if ctx.Err() != nil {
			return ctx.Err()
		}
	}
}

// follow takes over what the store says of the members.
func (c *Cluster) follow() error {
	view := c.cfg.State.View()
	cluster, there := object(view)
	if !there {
		return nil
	}
	if err := CheckLevel(view, c.cfg.Level, c.cfg.Version); err != nil {
		return err
	}
	moved, revoked := c.cfg.Book.update(view)
	if revoked {
		c.cfg.Mesh.Recheck()
	}
	if moved && c.phase() != "" {
		if err := c.remember(func(r *Record) { r.Peers = c.cfg.Book.Peers() }); err != nil {
			return err
		}
	}
	if c.cfg.Keeper.Installed() {
		if err := c.cfg.Keeper.SetBundle(cluster.CA); err != nil {
			c.log.Error("the CA's certificates do not fit this node's", "error", err)
		}
	}
	if m, there := state.Members.Get(view, c.cfg.Node); there && m.State == core.MemberRemoved && !c.leaving() {
		return core.Errorf(core.CodeDenied, "node %q was removed from the cluster: %s", c.cfg.Node, m.Reason).
			WithHint("to use the machine again: instard teardown, then an empty data directory and a new join token")
	}
	return nil
}

func (c *Cluster) leaving() bool {
	select {
	case <-c.left:
		return true
	default:
		return c.phase() == PhaseLeft
	}
}

// announce sees to it that the store has this node's address; true when nothing is left to do.
func (c *Cluster) announce(ctx context.Context) bool {
	view := c.cfg.State.View()
	m, there := state.Members.Get(view, c.cfg.Node)
	if !there || m.State == core.MemberRemoved {
		return false
	}
	if m.Address == c.cfg.Address {
		return true
	}
	ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	err := c.atLeader(ctx, addressPath, addressRequest{Address: c.cfg.Address}, nil)
	if err != nil {
		c.log.Warn("the new address of this node is not known to the cluster yet", "address", c.cfg.Address, "error", err)
		return false
	}
	c.log.Info("this node has another address", "before", m.Address, "now", c.cfg.Address)
	return true
}

// atLeader asks the leader, which may be this node.
func (c *Cluster) atLeader(ctx context.Context, path string, request, into any) error {
	if c.cfg.Raft.IsLeader() {
		return c.callNode(ctx, c.cfg.Node, http.MethodPost, path, request, into)
	}
	return c.callLeader(ctx, path, request, into)
}

// sign has the cluster sign this node's next certificate.
func (c *Cluster) sign(ctx context.Context, csr []byte) (string, []string, error) {
	ctx, cancel := context.WithTimeout(ctx, 30*time.Second)
	defer cancel()
	var out renewAnswer
	if err := c.atLeader(ctx, renewPath, renewRequest{CSR: csr}, &out); err != nil {
		return "", nil, err
	}
	return out.Certificate, out.Bundle, nil
}
