package e2e

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/instarhq/instar/core"
	"github.com/instarhq/instar/core/api/client"
)

// Nodes are emptied, come and go, while customers are served through those that stay.
func TestNodesComeAndGoUnderLoad(t *testing.T) {
	t.Parallel() // it waits most of the time
	tr := newTrio(t)
	tr.settled(t, 0, 3)
	t.Run("rolling", tr.stepByStep)
	t.Run("a follower has what was written", tr.readsItsWrites)
	t.Run("output of another node's instance", tr.logsFromElsewhere)
	t.Run("drain", tr.drain)
	t.Run("worker", tr.worker)
	t.Run("leave", tr.leave)
	tr.onceEach(t)
}

// readsItsWrites writes through one follower and reads at another at once.
func (tr *trio) readsItsWrites(t *testing.T) {
	leader, err := tr.Leader(tr.ctx)
	if err != nil {
		t.Fatal(err)
	}
	writer, reader := tr.Nodes[(leader+1)%3], tr.Nodes[(leader+2)%3]
	asked := &http.Client{Transport: &http.Transport{DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
		return (&net.Dialer{}).DialContext(ctx, "unix", strings.TrimPrefix(reader.Address, "unix://"))
	}}}
	defer asked.CloseIdleConnections()
	for i := range 20 {
		name := fmt.Sprintf("point-%d", i)
		if _, err := writer.API.CreateCheckpoint(tr.ctx, client.Write{}, name, core.Point{Seq: 1}); err != nil {
			t.Fatal(err)
		}
		res, err := asked.Get("http://instar/v1/checkpoints?consistent=true&limit=1000")
		if err != nil {
			t.Fatal(err)
		}
		var page core.Page[core.Checkpoint]
		err = json.NewDecoder(res.Body).Decode(&page)
		_ = res.Body.Close()
		if err != nil {
			t.Fatal(err)
		}
		if !slices.ContainsFunc(page.Items, func(c core.Checkpoint) bool { return c.Name == name }) {
			t.Fatalf("%s is not read after it was written", name)
		}
	}
}

// logsFromElsewhere follows the output of every instance from a node that has none of them but one.
func (tr *trio) logsFromElsewhere(t *testing.T) {
	const text = `service "ticker" {
  count = 3
  artifact { source = %q }
  compute "process" { command = ["/bin/sh", "-c", "while :; do echo tick of $INSTAR_INSTANCE; sleep 0.1; done"] }
  rollout {
    bake          = "0s"
    keep_previous = "0s"
  }
}`
	file := filepath.Join(tr.dir, "ticker.hcl")
	if err := os.WriteFile(file, fmt.Appendf(nil, text, built.hello), 0o600); err != nil {
		t.Fatal(err)
	}
	tr.must(t, 1, "apply", "-yes", file)
	page, err := tr.Nodes[1].API.Instances(tr.ctx, client.List{Service: "ticker"})
	if err != nil || len(page.Items) != 3 {
		t.Fatalf("%d instances, %v", len(page.Items), err)
	}
	for i := range page.Items {
		tr.follow(t, page.Items[i].Instance.ID)
	}
	tr.must(t, 1, "service", "delete", "ticker", "-yes")
}

// follow reads five lines as they come.
func (tr *trio) follow(t *testing.T, instance string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(tr.ctx, 30*time.Second)
	defer cancel()
	cmd := exec.CommandContext(ctx, tr.Nodes[0].Binary("instar"), "logs", instance, "-f", "-tail", "1")
	cmd.Env = tr.Nodes[0].Environment()
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	lines := bufio.NewScanner(out)
	for i := range 5 {
		if !lines.Scan() || !strings.Contains(lines.Text(), "tick of "+instance) {
			t.Errorf("line %d of %s: %q", i, instance, lines.Text())
			break
		}
	}
	cancel()
	_ = cmd.Wait() // killed
}

// drain empties a node and fills it again.
func (tr *trio) drain(t *testing.T) {
	shoppers := startCustomers(tr.addresses)
	tr.must(t, 0, "node", "drain", "n2", "-wait", "-reason", "new disks", "-timeout", "40s")
	for id, at := range tr.settled(t, 2, 3) {
		if at == "n2" {
			t.Errorf("%s is on n2, which is empty", id)
		}
	}
	tr.must(t, 0, "node", "drain", "n2", "-undo")
	tr.apply(t, 0, "hello", 4)
	if now := tr.settled(t, 1, 4); !on(now, "n2") {
		t.Errorf("nothing is on n2, which takes instances again: %v", now)
	}
	shoppers.leave(t)
}

func on(instances map[string]string, node string) bool {
	for _, at := range instances {
		if at == node {
			return true
		}
	}
	return false
}

// worker has one node more, which does not vote, take the instances of another one. The root of its
// machine is nobody in the cluster.
func (tr *trio) worker(t *testing.T) {
	n, err := tr.Add(tr.ctx)
	if err != nil {
		t.Fatal(err)
	}
	token, err := tr.Nodes[0].API.CreateJoinToken(tr.ctx, client.Write{}, core.JoinTokenRequest{Role: core.RoleWorker, Uses: 1})
	if err != nil {
		t.Fatal(err)
	}
	if err := n.Join(tr.ctx, token.Text); err != nil {
		t.Fatal(err)
	}
	tr.await(t, "the worker to take instances", func() bool {
		v, err := tr.Nodes[0].API.NodeView(tr.ctx, "n4")
		return err == nil && v.Node != nil && slices.ContainsFunc(v.Node.Targets, func(t core.Target) bool { return t.Kind == core.DriverCompute && t.Healthy })
	})
	shoppers := startCustomers(tr.addresses)
	tr.must(t, 1, "node", "drain", "n3", "-wait", "-timeout", "40s")
	if now := tr.settled(t, 3, 4); !on(now, "n4") {
		t.Errorf("nothing is on the worker: %v", now)
	}
	out, err := n.CLI(tr.ctx, "service", "scale", "hello", "1")
	if err == nil || !strings.Contains(out, "viewer") {
		t.Errorf("the worker's root scales: %v\n%s", err, out)
	}
	tr.must(t, 1, "node", "drain", "n3", "-undo")
	shoppers.leave(t)
}

// leave has the leader empty itself, hand over, and go.
func (tr *trio) leave(t *testing.T) {
	leader, err := tr.Leader(tr.ctx)
	if err != nil {
		t.Fatal(err)
	}
	stays := (leader + 1) % 3
	shoppers := startCustomers(slices.Delete(slices.Clone(tr.addresses), leader, leader+1))
	tr.must(t, leader, "cluster", "leave", "-drain")
	if now := tr.settled(t, stays, 4); on(now, tr.Names[leader]) {
		t.Errorf("an instance is on %s, which has left: %v", tr.Names[leader], now)
	}
	tr.await(t, "the end of its instard", func() bool { return !tr.Nodes[leader].Running() })
	shoppers.leave(t)
	status, err := tr.Nodes[stays].API.ClusterStatus(tr.ctx)
	if err != nil || status.Voters != 2 || status.Leader == "" || status.Leader == tr.Names[leader] {
		t.Errorf("the cluster's status: %+v %v", status, err)
	}
}
