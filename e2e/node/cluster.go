package node

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/instarhq/instar/core"
	"github.com/instarhq/instar/core/api/client"
)

// ClusterOptions say how to run several instards as one cluster.
type ClusterOptions struct {
	Bin     string // the folder with the binaries
	Dir     string // where data directories, configurations and logs go; see TempDir
	Voters  int    // default 3
	Workers int
	// Host gives the IP address of node i, from 1; nil: 127.0.0.i.
	Host func(i int) string
	// Port is that of the cluster address on each host; 0: a free one.
	Port int
	// API also listens for people and programs, with TLS, on each host at this port; 0: it does not.
	API int
	// Config is added to every node's configuration: targets. ADDRESS in it is the node's IP address. Default:
	// one of each embedded driver.
	Config string
	// NodeConfig is added to the configuration of node i, from 1, instead of Config. nil: Config.
	NodeConfig func(i int) string
	// Member is added to the cluster block: node_grace = "2s".
	Member string
	// Wrap changes the command line of node i: to run it in a network namespace. nil: as it is.
	Wrap func(i int, command []string) []string
	// Args are more arguments of instard.
	Args []string
}

// Cluster is several instards, each of which may be down at the moment. Nodes[0] is n1.
type Cluster struct {
	options ClusterOptions
	Nodes   []*Node
	Names   []string
}

// defaultTargets are one of each embedded driver.
const defaultTargets = "compute \"process\" \"local\" {}\ntraffic \"proxy\" \"local\" {}\n"

// StartCluster runs instard for every node, begins a cluster on the first, and lets the others join: the
// voters, then the workers. It returns when all are ready and every voter votes. With an error, too, it
// returns the cluster if there may be something to tear down.
func StartCluster(ctx context.Context, options ClusterOptions) (*Cluster, error) {
	if options.Voters == 0 {
		options.Voters = 3
	}
	if options.Host == nil {
		options.Host = func(i int) string { return fmt.Sprintf("127.0.0.%d", i) }
	}
	if options.Config == "" {
		options.Config = defaultTargets
	}
	c := &Cluster{options: options}
	for i := 1; i <= options.Voters+options.Workers; i++ {
		if err := c.add(ctx, i); err != nil {
			return c, err
		}
	}
	if err := c.form(ctx); err != nil {
		return c, fmt.Errorf("%w\n%s", err, c.logs(20))
	}
	return c, nil
}

// form begins the cluster and lets everybody join.
func (c *Cluster) form(ctx context.Context) error {
	if _, err := c.Nodes[0].API.ClusterInit(ctx, client.Write{}, ""); err != nil {
		return fmt.Errorf("begin the cluster: %w", err)
	}
	if err := c.Nodes[0].AwaitReady(ctx); err != nil {
		return err
	}
	var group sync.WaitGroup
	errs := make([]error, len(c.Nodes))
	tokens := map[core.Role]string{}
	for i := range c.Nodes[1:] {
		role := c.role(i + 1)
		if tokens[role] == "" {
			made, err := c.Nodes[0].API.CreateJoinToken(ctx, client.Write{}, core.JoinTokenRequest{Role: role, Uses: len(c.Nodes)})
			if err != nil {
				return fmt.Errorf("make a join token: %w", err)
			}
			tokens[role] = made.Text
		}
		group.Go(func() { errs[i] = c.Nodes[i+1].Join(ctx, tokens[role]) })
	}
	group.Wait()
	if err := errors.Join(errs...); err != nil {
		return err
	}
	return c.AwaitVoters(ctx, c.options.Voters)
}

func (c *Cluster) role(i int) core.Role {
	if i < c.options.Voters {
		return core.RoleVoter
	}
	return core.RoleWorker
}

// Add runs one more instard, which is no member yet; Join it.
func (c *Cluster) Add(ctx context.Context) (*Node, error) {
	err := c.add(ctx, len(c.Nodes)+1)
	return c.Nodes[len(c.Nodes)-1], err
}

// add makes node i and runs it until it answers.
func (c *Cluster) add(ctx context.Context, i int) error {
	name := fmt.Sprint("n", i)
	config := filepath.Join(c.options.Dir, name+".hcl")
	address := fmt.Sprintf("%s:%d", c.options.Host(i), c.options.Port)
	if c.options.Port == 0 {
		port, err := freePort(c.options.Host(i))
		if err != nil {
			return err
		}
		address = fmt.Sprintf("%s:%d", c.options.Host(i), port)
	}
	api := ""
	if c.options.API != 0 {
		api = fmt.Sprintf("api {\n  listen = \"%s:%d\"\n}\n", c.options.Host(i), c.options.API)
	}
	targets := c.options.Config
	if c.options.NodeConfig != nil {
		targets = c.options.NodeConfig(i)
	}
	text := fmt.Sprintf("node {\n  name = %q\n}\ncluster {\n  name   = \"test\"\n  listen = %q\n  %s\n}\n%s%s\n", name, address, c.options.Member, api, strings.ReplaceAll(targets, "ADDRESS", c.options.Host(i)))
	if err := os.WriteFile(config, []byte(text), 0o600); err != nil {
		return err
	}
	options := Options{Bin: c.options.Bin, DataDir: filepath.Join(c.options.Dir, name), Config: config, Args: c.options.Args, waits: true}
	if c.options.Wrap != nil {
		options.wrap = func(command []string) []string { return c.options.Wrap(i, command) }
	}
	n, err := Start(ctx, options)
	if n != nil {
		c.Nodes, c.Names = append(c.Nodes, n), append(c.Names, name)
	}
	return err
}

// Join makes a node a member, and returns when it is ready.
func (n *Node) Join(ctx context.Context, token string) error {
	if _, err := n.API.ClusterJoin(ctx, client.Write{}, token); err != nil {
		return fmt.Errorf("join: %w", err)
	}
	return n.AwaitReady(ctx)
}

// Node gives a node by its name; nil if there is none.
func (c *Cluster) Node(name string) *Node {
	for i := range c.Names {
		if c.Names[i] == name {
			return c.Nodes[i]
		}
	}
	return nil
}

// Leader waits until a running node that is not one of those left out knows a leader that is none of them
// either, and gives the leader's place in Nodes.
func (c *Cluster) Leader(ctx context.Context, not ...string) (int, error) {
	found := -1
	err := await(ctx, "there is a leader", func() bool {
		for i, n := range c.Nodes {
			if slices.Contains(not, c.Names[i]) || !n.Running() {
				continue
			}
			health, err := n.API.Health(ctx)
			if err == nil && health.Leader == c.Names[i] && health.Ready {
				found = i
				return true
			}
		}
		return false
	})
	return found, err
}

// AwaitVoters waits until so many members vote and are reachable.
func (c *Cluster) AwaitVoters(ctx context.Context, voters int) error {
	return await(ctx, fmt.Sprintf("%d members vote", voters), func() bool {
		for _, n := range c.Nodes {
			if !n.Running() {
				continue
			}
			status, err := n.API.ClusterStatus(ctx)
			if err != nil {
				continue
			}
			reachable := 0
			for i := range status.Members {
				if status.Members[i].Voter && status.Members[i].Reachable {
					reachable++
				}
			}
			return status.Leader != "" && status.Voters == voters && reachable == voters
		}
		return false
	})
}

// AwaitReady waits until every running node is ready.
func (c *Cluster) AwaitReady(ctx context.Context) error {
	for _, n := range c.Nodes {
		if n.Running() {
			if err := n.AwaitReady(ctx); err != nil {
				return err
			}
		}
	}
	return nil
}

// Teardown stops every node, and ends every instance and driver of theirs.
func (c *Cluster) Teardown(ctx context.Context) error {
	var group sync.WaitGroup
	errs := make([]error, len(c.Nodes))
	for i, n := range c.Nodes {
		group.Go(func() {
			_ = n.Continue() // one that stands still cannot stop
			errs[i] = n.Teardown(ctx)
		})
	}
	group.Wait()
	return errors.Join(errs...)
}

// logs are the last lines of every node.
func (c *Cluster) logs(lines int) string {
	var out strings.Builder
	for i, n := range c.Nodes {
		fmt.Fprintf(&out, "--- %s\n%s\n", c.Names[i], n.Log(lines))
	}
	return out.String()
}

func await(ctx context.Context, what string, ok func() bool) error {
	ctx, cancel := context.WithTimeout(ctx, startLimit)
	defer cancel()
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for !ok() {
		select {
		case <-tick.C:
		case <-ctx.Done():
			return fmt.Errorf("not within %s: %s: %w", startLimit, what, ctx.Err())
		}
	}
	return nil
}
