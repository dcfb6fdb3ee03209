package e2e

import (
	"context"
	"sync"
	"testing"
	"time"

	"github.com/instarhq/instar/core"
	"github.com/instarhq/instar/core/api/client"
	"github.com/instarhq/instar/e2e/node"
)

const (
	// stopRounds is how often three daemons get SIGTERM at one moment.
	stopRounds = 2
	// stopLimit bounds the end of a daemon, whatever the others do.
	stopLimit = 45 * time.Second
)

// A daemon that is told to stop ends with exit status 0 and soon, whether the others stop at the same moment
// or stand still and never answer.
func TestDaemonsStopInOrderWhateverTheOthersDo(t *testing.T) {
	t.Parallel() // it waits most of the time
	c, ctx := newMembers(t)
	for range stopRounds {
		stop := occupied(ctx, c)
		var group sync.WaitGroup
		for _, n := range c.Nodes {
			group.Go(func() { stopped(t, n) })
		}
		group.Wait()
		stop()
		again(ctx, t, c.Nodes...)
	}
	leader, err := c.Leader(ctx)
	if err != nil {
		t.Fatal(err)
	}
	stop := occupied(ctx, c)
	defer stop()
	var others []*node.Node
	for i, n := range c.Nodes {
		if i != leader {
			others = append(others, n)
			if err := n.Pause(); err != nil {
				t.Fatal(err)
			}
		}
	}
	stopped(t, c.Nodes[leader])
	for _, n := range others {
		if err := n.Continue(); err != nil {
			t.Fatal(err)
		}
	}
	again(ctx, t, c.Nodes[leader])
}

// stopped stops a daemon in order. That it has ended with exit status 0 is Stop's to say.
func stopped(t *testing.T, n *node.Node) {
	ctx, cancel := context.WithTimeout(context.Background(), stopLimit)
	defer cancel()
	if err := n.Stop(ctx); err != nil {
		t.Error(err)
	}
}

// again starts daemons at the same time and waits until all are ready.
func again(ctx context.Context, t *testing.T, nodes ...*node.Node) {
	t.Helper()
	for _, n := range nodes {
		if err := n.StartAgain(ctx); err != nil {
			t.Fatal(err)
		}
	}
	for _, n := range nodes {
		if err := n.AwaitReady(ctx); err != nil {
			t.Fatal(err)
		}
	}
}

// occupied writes through every node until the end is called, which waits for it. What becomes of the writes is
// not this test's business.
func occupied(ctx context.Context, c *node.Cluster) (end func()) {
	ctx, cancel := context.WithCancel(ctx)
	var group sync.WaitGroup
	for _, n := range c.Nodes {
		for range 4 {
			group.Go(func() {
				for ctx.Err() == nil {
					if _, err := n.API.CreateJoinToken(ctx, client.Write{}, core.JoinTokenRequest{}); err != nil {
						select {
						case <-time.After(50 * time.Millisecond):
						case <-ctx.Done():
						}
					}
				}
			})
		}
	}
	return func() {
		cancel()
		group.Wait()
	}
}
