package e2e

import (
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"os"
	"strings"
	"testing"

	mobyclient "github.com/moby/moby/client"

	"github.com/instarhq/instar/core"
	"github.com/instarhq/instar/plugins/compute/docker/dockertest"
)

// TestDockerPullIsShown rolls out an image that a registry gives slowly. Whoever waits sees how far it is, in words and in
// JSON, and the log is not filled with it.
func TestDockerPullIsShown(t *testing.T) {
	t.Parallel()
	c := newDockerCluster(t)
	image, size, release := c.slowImage()
	c.must(c.args(0)...)

	c.image = image
	applied := make(chan string, 1)
	go func() {
		out, err := c.node.CLI(c.Context(), c.args(1)...)
		applied <- fmt.Sprint(out, err)
	}()
	c.await("the rollout begins", func() bool { return c.rollout().Number == 2 })
	c.await("some of the image is there", func() bool {
		var view core.RolloutView
		out := c.must("rollout", "show", "shop/2", "-o", "json")
		if err := json.Unmarshal([]byte(out), &view); err != nil {
			t.Fatalf("%v in %s", err, out)
		}
		for _, f := range view.Progress.Fetches {
			if f.Node != "n1" || f.Target != "local" || f.Done > f.Total || f.Total > size {
				t.Fatalf("progress %+v", f)
			}
		}
		return len(view.Progress.Fetches) == 1 && view.Progress.Fetches[0].Done > 1<<20
	})
	for _, command := range [][]string{{"status"}, {"rollout", "show", "shop/2"}, {"instance", "list"}} {
		if out := c.must(command...); !strings.Contains(out, "% of the artifact") {
			t.Errorf("instar %v does not show the pull:\n%s", command, out)
		}
	}
	release()
	if out := <-applied; !strings.Contains(out, "% of the artifact") {
		t.Errorf("apply does not show the pull:\n%s", out)
	}
	c.settled("a pull")
	if r := c.rollout(); r.Phase != core.RolloutSucceeded {
		t.Fatalf("rollout %s is %s, want succeeded", r.ID(), r.Phase)
	}
	if f := c.service().Rollout.Progress.Fetches; len(f) != 0 {
		t.Errorf("after it was pulled: %+v", f)
	}
	reports := 0
	for _, record := range c.records() {
		for _, op := range record.Txn.Ops {
			if op.Kind == core.KindInstanceStatus && strings.Contains(string(op.Value), `"fetch"`) {
				reports++
			}
		}
	}
	// At a beat of a second, for a few seconds, with a while between in which nothing comes; the engine says it ten times a
	// second.
	if reports < 1 || reports > 20 {
		t.Errorf("%d reports of how far the image is", reports)
	}
}

// slowImage puts the shop with some megabytes into a slow registry, and returns its name there, how large it is at most, and
// what gives the second half. The engine does not have it.
func (c *dockerCluster) slowImage() (name string, most int64, release func()) {
	c.Helper()
	registry, err := c.engine.StartRegistry(c.Context(), false)
	if err != nil {
		c.Fatal(err)
	}
	c.Cleanup(func() {
		if err := registry.Stop(); err != nil {
			c.Error(err)
		}
	})
	slow, err := registry.StartSlow(4 << 20)
	if err != nil {
		c.Fatal(err)
	}
	c.Cleanup(func() {
		if err := slow.Stop(); err != nil {
			c.Error(err)
		}
	})
	shop, err := os.ReadFile(c.program)
	if err != nil {
		c.Fatal(err)
	}
	noise := make([]byte, 6<<20) // which nothing compresses
	if _, err := rand.NewChaCha8([32]byte{1}).Read(noise); err != nil {
		c.Fatal(err)
	}
	const local = "instar/big:1"
	if _, err := c.engine.Import(c.Context(), local, []dockertest.File{
		{Path: "shop", Data: shop, Mode: 0o755}, {Path: "noise", Data: noise, Mode: 0o644},
	}, `ENTRYPOINT ["/shop"]`); err != nil {
		c.Fatal(err)
	}
	pushed, err := registry.Push(c.Context(), c.engine, local, "big:1")
	if err != nil {
		c.Fatal(err)
	}
	if _, err := c.engine.API.ImageRemove(c.Context(), local, mobyclient.ImageRemoveOptions{}); err != nil {
		c.Fatal(err)
	}
	return slow.Host + strings.TrimPrefix(pushed, registry.Host), int64(len(noise) + len(noise)/10 + len(shop)), slow.Release
}
