package e2e

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/instarhq/instar/core/api/client"
	"github.com/instarhq/instar/e2e/node"
)

// membersLimit bounds everything that a test of several nodes waits for.
const membersLimit = 2 * time.Minute

// newMembers runs three voters, each with a proxy of its own name: edge1, edge2, edge3.
func newMembers(t *testing.T) (*node.Cluster, context.Context) {
	t.Helper()
	return newMembersOf(t, built.bin)
}

// newMembersOf is newMembers with the binaries of a folder, and other options if there is something to change.
func newMembersOf(t *testing.T, bin string, change ...func(*node.ClusterOptions)) (*node.Cluster, context.Context) {
	t.Helper()
	dir, err := node.TempDir()
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(context.Background(), membersLimit)
	t.Cleanup(cancel)
	options := node.ClusterOptions{
		Bin: bin, Dir: dir, Voters: 3, Member: `node_grace = "60s"`,
		Host: func(int) string { return "127.0.0.1" },
		NodeConfig: func(i int) string {
			return fmt.Sprintf("compute \"process\" \"local\" {}\ntraffic \"proxy\" \"edge%d\" {}\n", i)
		},
	}
	for _, f := range change {
		f(&options)
	}
	c, err := node.StartCluster(ctx, options)
	t.Cleanup(func() {
		end, cancel := context.WithTimeout(context.Background(), membersLimit)
		defer cancel()
		if err := c.Teardown(end); err != nil {
			t.Error(err)
		}
		if t.Failed() {
			for i, n := range c.Nodes {
				t.Logf("--- %s\n%s", c.Names[i], n.Log(40))
			}
		}
		if err := os.RemoveAll(dir); err != nil {
			t.Error(err)
		}
	})
	if err != nil {
		t.Fatal(err)
	}
	return c, ctx
}

// serve declares a service behind a route on every proxy, and gives the routes' addresses.
func serve(ctx context.Context, t *testing.T, c *node.Cluster) []string {
	t.Helper()
	var routes strings.Builder
	var addresses []string
	for i := range c.Nodes {
		address, err := node.FreeAddress()
		if err != nil {
			t.Fatal(err)
		}
		addresses = append(addresses, address)
		fmt.Fprintf(&routes, "  route \"web%d\" {\n    target = \"edge%d\"\n    listen = %q\n  }\n", i+1, i+1, address)
	}
	file := filepath.Join(t.TempDir(), "hello.hcl")
	text := fmt.Sprintf(`service "hello" {
  count = 3
  artifact { source = %q }
  compute "process" { command = ["./hello", "127.0.0.1:${port.http}"] }
  port "http" {}
  env = { GREETING = "hello" }
  health "http" {
    path        = "/"
    interval    = "500ms"
    timeout     = "5s"
    healthy_for = "500ms"
  }
%s  rollout { bake = "1s" }
}`, built.hello+"/hello", routes.String())
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	if out, err := c.Nodes[2].CLI(ctx, "apply", "-yes", file); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	return addresses
}

// customers ask routes without a pause until they are stopped.
type customers struct {
	stop   chan struct{}
	group  sync.WaitGroup
	mu     sync.Mutex
	asked  map[string]int
	failed []string
}

func startCustomers(addresses []string) *customers {
	k := &customers{stop: make(chan struct{}), asked: map[string]int{}}
	for _, address := range addresses {
		for _, keep := range []bool{true, false} {
			k.group.Go(func() { k.shop(address, keep) })
		}
	}
	return k
}

func (k *customers) shop(address string, keep bool) {
	c := &http.Client{Timeout: 20 * time.Second, Transport: &http.Transport{DisableKeepAlives: !keep}}
	defer c.CloseIdleConnections()
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for {
		select {
		case <-k.stop:
			return
		case <-tick.C:
		}
		problem := ""
		if resp, err := c.Get("http://" + address); err != nil {
			problem = err.Error()
		} else {
			body, err := io.ReadAll(resp.Body)
			_ = resp.Body.Close()
			if err != nil || resp.StatusCode != http.StatusOK || !strings.HasPrefix(string(body), "hello from ") {
				problem = fmt.Sprintf("%s %q %v", resp.Status, body, err)
			}
		}
		k.mu.Lock()
		k.asked[address]++
		if problem != "" {
			k.failed = append(k.failed, time.Now().Format("15:04:05.000 ")+problem)
		}
		k.mu.Unlock()
	}
}

// leave stops the customers and fails the test if one of them was not served.
func (k *customers) leave(t *testing.T) {
	t.Helper()
	close(k.stop)
	k.group.Wait()
	for address, n := range k.asked {
		if n == 0 {
			t.Errorf("nobody asked %s", address)
		}
	}
	if len(k.failed) > 0 {
		t.Errorf("%d requests failed, the first: %s", len(k.failed), strings.Join(k.failed[:min(5, len(k.failed))], "\n"))
	}
}

func instances(ctx context.Context, t *testing.T, api *client.Client) []string {
	t.Helper()
	page, err := api.Instances(ctx, client.List{})
	if err != nil {
		t.Fatal(err)
	}
	var ids []string
	for i := range page.Items {
		ids = append(ids, page.Items[i].Instance.ID)
	}
	slices.Sort(ids)
	return ids
}

// Each instard is restarted in turn, then the leader is killed: no request through any proxy fails, every
// write is taken by the nodes that are there, and no instance is touched.
func TestRollingRestartUnderLoad(t *testing.T) {
	t.Parallel()
	c, ctx := newMembers(t)
	addresses := serve(ctx, t, c)
	before := instances(ctx, t, c.Nodes[0].API)
	if len(before) != 3 {
		t.Fatalf("instances %v", before)
	}
	shoppers := startCustomers(addresses)
	for i, n := range c.Nodes {
		other := c.Nodes[(i+1)%len(c.Nodes)]
		if err := n.Stop(ctx); err != nil {
			t.Fatal(err)
		}
		if out, err := other.CLI(ctx, "cluster", "token", "create"); err != nil {
			t.Errorf("a write while %s is down: %v\n%s", c.Names[i], err, out)
		}
		if err := n.Start(ctx); err != nil {
			t.Fatal(err)
		}
		if err := c.AwaitVoters(ctx, 3); err != nil {
			t.Fatal(err)
		}
	}
	leader, err := c.Leader(ctx)
	if err != nil {
		t.Fatal(err)
	}
	if err := c.Nodes[leader].Kill(); err != nil {
		t.Fatal(err)
	}
	other := c.Nodes[(leader+1)%3]
	if out, err := other.CLI(ctx, "cluster", "token", "create"); err != nil {
		t.Errorf("a write after the leader was killed: %v\n%s", err, out)
	}
	if out, err := other.CLI(ctx, "logs", before[0]); err != nil && !strings.Contains(out, c.Names[leader]) {
		t.Errorf("the output of an instance: %v\n%s", err, out)
	}
	if err := c.Nodes[leader].Start(ctx); err != nil {
		t.Fatal(err)
	}
	if err := c.AwaitVoters(ctx, 3); err != nil {
		t.Fatal(err)
	}
	shoppers.leave(t)
	if after := instances(ctx, t, c.Nodes[0].API); !slices.Equal(before, after) {
		t.Errorf("instances %v before, %v after", before, after)
	}
}
