package e2e

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/instarhq/instar/core"
	"github.com/instarhq/instar/core/api/client"
	"github.com/instarhq/instar/e2e/node"
)

// Three machines share no disk: an artifact is a path on the one where apply ran, and then not even there any
// more. The leader has it pinned where it is, and every node that needs it gets it from one that has it.
func TestArtifactOfOneNode(t *testing.T) {
	t.Parallel()
	dir, err := node.TempDir()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := os.RemoveAll(dir); err != nil {
			t.Error(err)
		}
	})
	source := filepath.Join(dir, "build", "out")
	if err := os.MkdirAll(source, 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(source, "run"), []byte("#!/bin/sh\nexec sleep 3600\n"), 0o755); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(context.Background(), membersLimit)
	t.Cleanup(cancel)
	c, err := node.StartCluster(ctx, node.ClusterOptions{
		Bin: built.bin, Dir: dir, Voters: 3, Config: `compute "process" "local" {}`,
		Wrap: func(i int, command []string) []string {
			if i == 2 || os.Geteuid() != 0 {
				return command // without root they see it all until it is removed
			}
			hidden := []string{"unshare", "-m", "sh", "-c", `mount -t tmpfs none "$0" && exec "$@"`, filepath.Dir(source)}
			return append(hidden, command...)
		},
	})
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
	})
	if err != nil {
		t.Fatal(err)
	}
	second := c.Nodes[1]
	file := filepath.Join(dir, "job.hcl")
	text := `service "job" {
  count = %d
  artifact { source = %q }
  compute "process" { command = ["./run"] }
  rollout { bake = "1s" }
}`
	if err := os.WriteFile(file, fmt.Appendf(nil, text, 1, source), 0o600); err != nil {
		t.Fatal(err)
	}
	if out, err := second.CLI(ctx, "apply", "-yes", file); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	if err := os.RemoveAll(source); err != nil {
		t.Fatal(err)
	}
	if out, err := second.CLI(ctx, "service", "scale", "job", "3"); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	var on map[string]bool
	for deadline := time.Now().Add(membersLimit / 2); len(on) < 3; {
		page, err := second.API.Instances(ctx, client.List{Service: "job", Limit: 100})
		if err != nil {
			t.Fatal(err)
		}
		on = map[string]bool{}
		for _, i := range page.Items {
			if i.Status != nil && i.Status.Phase == core.InstanceRunning {
				on[i.Instance.Node] = true
			}
		}
		if time.Now().After(deadline) {
			t.Fatalf("instances run on %v only", on)
		}
		<-time.After(50 * time.Millisecond)
	}
}
