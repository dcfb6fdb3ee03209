package e2e

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/moby/moby/api/types/events"
	mobyclient "github.com/moby/moby/client"

	"github.com/instarhq/instar/core"
	"github.com/instarhq/instar/e2e/judge"
	"github.com/instarhq/instar/e2e/node"
	"github.com/instarhq/instar/plugins/compute/docker/dockertest"
)

// shopImage is the shop's image at the engine, which no registry has.
const shopImage = "instar/shop:1"

// dockerCluster is a cluster whose instances are containers of a private engine.
type dockerCluster struct {
	*cluster
	engine  *dockertest.Engine
	program string // the shop, built for a container
	image   string // what args apply
	starts  *starts
}

// starts counts how often the container of each instance was started.
type starts struct {
	mu sync.Mutex
	of map[string]int
}

// forget leaves instances out whose containers somebody else has started, too.
func (s *starts) forget(ids ...string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, id := range ids {
		delete(s.of, id)
	}
}

// containerShop builds the shop for containers, which have no C library, once for all tests.
var containerShop = sync.OnceValues(func() (string, error) {
	shop := filepath.Join(filepath.Dir(built.bin), "container", "shop")
	build := exec.CommandContext(context.Background(), "go", "build", "-o", shop, "./examples/shop")
	build.Dir, build.Env = built.repository, append(os.Environ(), "CGO_ENABLED=0")
	if out, err := build.CombinedOutput(); err != nil {
		return "", fmt.Errorf("build the shop: %w\n%s", err, out)
	}
	return shop, nil
})

func newDockerCluster(t *testing.T) *dockerCluster {
	t.Helper()
	// For dockerd's restarts on a machine that has much else to do; see the health check of testdata/docker.hcl.
	return dockerClusterBehind(t, "traffic \"proxy\" \"local\" {\n  connect_patience = \"10s\"\n}")
}

// dockerClusterBehind has another traffic target than the embedded one.
func dockerClusterBehind(t *testing.T, traffic string) *dockerCluster {
	t.Helper()
	// Containers outlive dockerd, and traffic reaches them without it: as one runs an engine for production.
	engine, err := dockertest.StartSparing(context.Background(), "--live-restore", "--userland-proxy=false")
	dockertest.Need(t, err)
	t.Cleanup(func() {
		if err := engine.Stop(); err != nil {
			t.Error(err)
		}
	})
	shop, err := containerShop()
	if err != nil {
		t.Fatal(err)
	}
	data, err := os.ReadFile(shop)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := engine.Import(t.Context(), shopImage, []dockertest.File{{Path: "shop", Data: data, Mode: 0o755}}, `ENTRYPOINT ["/shop"]`); err != nil {
		t.Fatal(err)
	}
	config := filepath.Join(t.TempDir(), "instard.hcl")
	text := fmt.Sprintf("node {\n  name = \"n1\"\n}\ncompute \"docker\" \"local\" {\n  endpoint = %q\n  address  = %q\n}\n%s\n",
		engine.Endpoint, engine.Address, traffic)
	if err := os.WriteFile(config, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	c := &dockerCluster{engine: engine, program: shop, image: shopImage, starts: &starts{of: map[string]int{}}}
	c.count(t)
	c.cluster = startCluster(t, node.Options{Config: config}, func(string) {})
	return c
}

// count follows the engine's events, through its restarts.
func (c *dockerCluster) count(t *testing.T) {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	t.Cleanup(cancel)
	seen := map[int64]bool{}
	since := time.Now()
	go func() {
		for ctx.Err() == nil {
			stream := c.engine.API.Events(ctx, mobyclient.EventsListOptions{
				Since:   since.Format(time.RFC3339Nano),
				Filters: mobyclient.Filters{}.Add("type", string(events.ContainerEventType)).Add("event", string(events.ActionStart)),
			})
			for open := true; open; {
				select {
				case m := <-stream.Messages:
					if !seen[m.TimeNano] {
						seen[m.TimeNano] = true
						c.starts.mu.Lock()
						c.starts.of[m.Actor.Attributes["instar.instance"]]++
						c.starts.mu.Unlock()
					}
				case <-stream.Err: //nolint:errcheck // another one follows
					open = false
				}
			}
			select {
			case <-ctx.Done():
			case <-time.After(50 * time.Millisecond):
			}
		}
	}()
}

// args apply the shop's next version.
func (c *dockerCluster) args(version int, variables ...string) []string {
	args := []string{"apply", "-yes", "testdata/docker.hcl"}
	for _, v := range append([]string{"image=" + c.image, "listen=" + c.listen, fmt.Sprintf("version=%d", version)}, variables...) {
		args = append(args, "-var", v)
	}
	return args
}

// settled waits until two instances of the newest revision serve, and nothing else is left at the engine.
func (c *dockerCluster) settled(what string) {
	c.Helper()
	c.await("settled after "+what, func() bool {
		if !c.rollout().Phase.Over() || len(c.serving()) != 2 || len(c.instances()) != 2 {
			return false
		}
		list, err := c.engine.API.ContainerList(c.Context(), mobyclient.ContainerListOptions{All: true})
		return err == nil && len(list.Items) == 2
	})
	c.starts.mu.Lock()
	defer c.starts.mu.Unlock()
	for id, n := range c.starts.of {
		if n != 1 {
			c.Errorf("after %s: the container of instance %q was started %d times", what, id, n)
		}
	}
}

// TestDockerService replaces a service in containers under load, while instard is killed at every phase and
// dockerd dies and comes back. Nobody notices.
func TestDockerService(t *testing.T) {
	t.Parallel()
	c := newDockerCluster(t)
	c.must(c.args(0)...)
	customers := c.customers(0.3)
	version := 0
	next := func() []string {
		version++
		return c.args(version)
	}
	c.must(next()...)
	c.settled("a rollout that nobody disturbs")
	for _, moment := range []struct {
		what string
		at   func(core.Event) bool
	}{
		{"provisioning", enters(core.RolloutProvisioning)},
		{"an instance wanted", desired(core.DesiredRun)},
		{"verifying", enters(core.RolloutVerifying)},
		{"switching", enters(core.RolloutSwitching)},
		{"baking", enters(core.RolloutBaking)},
		{"retiring", enters(core.RolloutRetiring)},
		{"an instance destroyed", desired(core.DesiredDestroy)},
	} {
		c.crash(moment.what, moment.at, next()...)
		c.settled("the daemon was killed at " + moment.what)
		if r := c.rollout(); r.Phase != core.RolloutSucceeded {
			t.Fatalf("killed at %s: rollout %s is %s, want succeeded", moment.what, r.ID(), r.Phase)
		}
	}

	// The engine dies while a rollout makes instances, and then while nothing happens. Customers notice neither that nor
	// the gap in which the next dockerd builds its rules of the packet filter and published ports refuse connections.
	done := c.start(next()...)
	c.await("the rollout begins", func() bool { return len(c.instances()) > 2 })
	c.restartEngine()
	<-done
	c.settled("dockerd was killed in a rollout")
	if r := c.rollout(); r.Phase != core.RolloutSucceeded {
		t.Errorf("dockerd was killed: rollout %s is %s, want succeeded", r.ID(), r.Phase)
	}
	c.restartEngine()
	c.settled("dockerd was killed")
	c.satisfied(customers.Stop())
	c.hold(judge.Enough)
	c.hold(judge.All)
	if c.Failed() {
		c.tellTroubles()
	}
}

// tellTroubles logs what the agent has said of instances that were not well.
func (c *dockerCluster) tellTroubles() {
	for _, record := range c.records() {
		for _, op := range record.Txn.Ops {
			var status core.InstanceStatus
			if op.Kind != core.KindInstanceStatus || json.Unmarshal(op.Value, &status) != nil {
				continue
			}
			if status.Unhealthy != "" || status.Failure != nil {
				c.Logf("record %d: %s is %s: %s %+v", record.Seq, status.ID, status.Phase, status.Unhealthy, status.Failure)
			}
		}
	}
}

// restartEngine kills dockerd, waits until the daemon has noticed, and starts it again.
func (c *dockerCluster) restartEngine() {
	c.Helper()
	if err := c.engine.Kill(); err != nil {
		c.Fatal(err)
	}
	c.await("the target is unhealthy", func() bool { return !c.targetHealthy() })
	if err := c.engine.Run(c.Context()); err != nil {
		c.Fatal(err)
	}
	c.await("the target is healthy", c.targetHealthy)
}

func (c *dockerCluster) targetHealthy() bool {
	c.Helper()
	view, err := c.node.API.NodeView(c.Context(), "n1")
	if err != nil || view.Node == nil {
		return false
	}
	for _, target := range view.Node.Targets {
		if target.Driver == "docker" {
			return target.Healthy
		}
	}
	return false
}
