package e2e

import (
	"context"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/instarhq/instar/core"
	"github.com/instarhq/instar/core/api/client"
	"github.com/instarhq/instar/e2e/node"
)

// trio is three voters with a service on all of them, and a proxy on each.
type trio struct {
	*node.Cluster
	dir       string
	bind      string   // what instances listen on
	addresses []string // of the routes, one on each node
	births    *register
	ctx       context.Context
}

// newTrio runs the cluster and the service.
func newTrio(t *testing.T) *trio {
	t.Helper()
	return newTrioOf(t, built.bin)
}

// newTrioOf is newTrio with the binaries of a folder, and other options if there is something to change.
func newTrioOf(t *testing.T, bin string, change ...func(*node.ClusterOptions)) *trio {
	t.Helper()
	c, ctx := newMembersOf(t, bin, change...)
	tr := &trio{Cluster: c, dir: t.TempDir(), births: newRegister(t), ctx: ctx, bind: "127.0.0.1"}
	for range c.Nodes {
		address, err := node.FreeAddress()
		if err != nil {
			t.Fatal(err)
		}
		tr.addresses = append(tr.addresses, address)
	}
	tr.apply(t, 0, "hello", 3)
	return tr
}

// apply declares the service through a node and waits until it serves. Its instances are told to say
// the greeting.
func (tr *trio) apply(t *testing.T, through int, greeting string, count int) {
	t.Helper()
	tr.applyBy(t, through, greeting, count, "")
}

// applyBy is apply with more in the rollout's block.
func (tr *trio) applyBy(t *testing.T, through int, greeting string, count int, rollout string) {
	t.Helper()
	var routes strings.Builder
	for i, address := range tr.addresses {
		fmt.Fprintf(&routes, "  route \"web%d\" {\n    target = \"edge%d\"\n    listen = %q\n  }\n", i+1, i+1, address)
	}
	file := filepath.Join(tr.dir, "hello.hcl")
	text := fmt.Sprintf(`service "hello" {
  count = %d
  artifact { source = %q }
  compute "process" { command = ["./announce", %q, "./hello", "%s:${port.http}"] }
  port "http" {}
  env = { GREETING = %q }
  health "http" {
    path        = "/"
    interval    = "500ms"
    timeout     = "5s"
    healthy_for = "500ms"
  }
%s  rollout {
    bake          = "0s"
    keep_previous = "0s"
%s  }
}`, count, built.hello, tr.births.url, tr.bind, greeting, routes.String(), rollout)
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	tr.must(t, through, "apply", "-yes", file)
}

// must runs the client at a node.
func (tr *trio) must(t *testing.T, at int, args ...string) string {
	t.Helper()
	out, err := tr.Nodes[at].CLI(tr.ctx, args...)
	if err != nil {
		t.Fatalf("instar %s at %s: %v\n%s", strings.Join(args, " "), tr.Names[at], err, out)
	}
	return out
}

// await polls until the condition holds.
func (tr *trio) await(t *testing.T, what string, condition func() bool) {
	t.Helper()
	deadline := time.Now().Add(45 * time.Second)
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	for !condition() {
		if time.Now().After(deadline) || tr.ctx.Err() != nil {
			t.Fatalf("not within 45 s: %s", what)
		}
		<-tick.C
	}
}

// serving gives the instances that are wanted, healthy and of the active revision, with their nodes, as a
// node has them; nil if it does not answer.
func (tr *trio) serving(at int) map[string]string {
	api := tr.Nodes[at].API
	service, err := api.Service(tr.ctx, "hello", 0)
	if err != nil {
		return nil
	}
	page, err := api.Instances(tr.ctx, client.List{Service: "hello"})
	if err != nil {
		return nil
	}
	found := map[string]string{}
	for i := range page.Items {
		v := &page.Items[i]
		if v.Instance.Revision == service.Service.Active && v.Instance.Desired == core.DesiredRun && v.Status != nil && v.Status.Healthy &&
			v.Status.Phase == core.InstanceRunning {
			found[v.Instance.ID] = v.Instance.Node
		}
	}
	return found
}

// settled waits until so many instances serve and nothing else runs.
func (tr *trio) settled(t *testing.T, at, count int) map[string]string {
	t.Helper()
	var now map[string]string
	tr.await(t, fmt.Sprintf("%d instances serve, and nothing else runs", count), func() bool {
		now = tr.serving(at)
		return len(now) == count && sameKeys(now, tr.births.alive())
	})
	return now
}

func sameKeys[V, W any](a map[string]V, b map[string]W) bool {
	return slices.Equal(slices.Sorted(maps.Keys(a)), slices.Sorted(maps.Keys(b)))
}

// onceEach fails the test if an instance was made twice.
func (tr *trio) onceEach(t *testing.T) {
	t.Helper()
	for id, n := range tr.births.counts() {
		if n != 1 {
			t.Errorf("%s was made %d times", id, n)
		}
	}
}

// oneRoot waits until all nodes have what the first has, and compares the roots.
func (tr *trio) oneRoot(t *testing.T) {
	t.Helper()
	first, err := tr.Nodes[0].API.Head(tr.ctx, 0)
	if err != nil {
		t.Fatal(err)
	}
	for i, n := range tr.Nodes[1:] {
		tr.await(t, tr.Names[i+1]+" has every record", func() bool {
			head, err := n.API.Head(tr.ctx, first.Size)
			if err != nil {
				return false
			}
			if head.Root != first.Root || head.Origin != first.Origin {
				t.Fatalf("%s has %+v, %s has %+v", tr.Names[i+1], head, tr.Names[0], first)
			}
			return true
		})
	}
}

// recovery reads what is found after a restore; false if there is none under way, or no answer.
func (tr *trio) recovery(at int) (core.RecoveryView, bool) {
	view, err := tr.Nodes[at].API.Recovery(tr.ctx)
	return view, err == nil
}

// over waits for the end of the recovery.
func (tr *trio) over(t *testing.T) {
	t.Helper()
	tr.await(t, "the recovery's end", func() bool {
		_, err := tr.Nodes[0].API.Recovery(tr.ctx)
		return core.IsNotFound(err)
	})
}
