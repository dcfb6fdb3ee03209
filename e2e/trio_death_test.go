package e2e

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/instarhq/instar/core"
	"github.com/instarhq/instar/e2e/lab"
	"github.com/instarhq/instar/e2e/node"
)

// newHosts is a trio whose nodes are hosts of their own.
func newHosts(t *testing.T) (*trio, *lab.Lab) {
	t.Helper()
	if os.Geteuid() != 0 {
		if os.Getenv("CI") != "" {
			t.Fatal("network namespaces need root, and continuous integration has to have it")
		}
		t.Skip("network namespaces need root")
	}
	dir, err := node.TempDir()
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(context.Background(), membersLimit)
	t.Cleanup(cancel)
	hosts, err := lab.New(ctx, 3)
	if err != nil {
		t.Fatal(err)
	}
	c, err := node.StartCluster(ctx, node.ClusterOptions{
		Bin: built.bin, Dir: dir, Host: hosts.Address, Port: 4748, Wrap: hosts.Wrap, Member: `node_grace = "5s"`,
		NodeConfig: func(i int) string {
			return fmt.Sprintf("compute \"process\" \"local\" {\n  address = \"ADDRESS\"\n}\ntraffic \"proxy\" \"edge%d\" {}\n", i)
		},
	})
	tr := &trio{Cluster: c, dir: dir, births: newFileRegister(t, dir+"/births"), ctx: ctx, bind: "0.0.0.0"}
	t.Cleanup(func() { tr.tearDown(t, hosts) })
	if err != nil {
		t.Fatal(err)
	}
	for i := range c.Nodes {
		tr.addresses = append(tr.addresses, hosts.Address(i+1)+":8080")
	}
	tr.apply(t, 0, "hello", 3)
	return tr, hosts
}

func (tr *trio) tearDown(t *testing.T, hosts *lab.Lab) {
	ctx, cancel := context.WithTimeout(context.Background(), membersLimit)
	defer cancel()
	err := errors.Join(hosts.Heal(ctx), tr.Teardown(ctx))
	for i := 1; i <= 3; i++ {
		err = errors.Join(err, hosts.Vanish(ctx, i))
	}
	if err := errors.Join(err, hosts.Close()); err != nil {
		t.Error(err)
	}
	if t.Failed() {
		for i, n := range tr.Nodes {
			t.Logf("--- %s\n%s", tr.Names[i], n.Log(40))
		}
	}
	if err := os.RemoveAll(tr.dir); err != nil {
		t.Error(err)
	}
}

// served asks a node's proxy from where the clients are.
func (tr *trio) served(hosts *lab.Lab, at int) bool {
	c := &http.Client{Timeout: 5 * time.Second, Transport: &http.Transport{DialContext: hosts.Dial, DisableKeepAlives: true}}
	res, err := c.Get("http://" + tr.addresses[at])
	if err != nil {
		return false
	}
	body, err := io.ReadAll(res.Body)
	_ = res.Body.Close()
	return err == nil && res.StatusCode == http.StatusOK && strings.HasPrefix(string(body), "hello from ")
}

// replaced waits until so many instances serve on the nodes but n3.
func (tr *trio) replaced(t *testing.T, count int) map[string]string {
	t.Helper()
	var now map[string]string
	tr.await(t, "what was on n3 is replaced elsewhere", func() bool {
		now = tr.serving(0)
		return len(now) == count && !on(now, "n3")
	})
	return now
}

// A node that is cut off keeps what it has and goes on serving; a node that dies does not. Either way what
// it ran is made elsewhere, and when it comes back late nothing is left that runs twice.
func TestNodesDieAndComeBackLate(t *testing.T) {
	t.Parallel() // it waits most of the time
	tr, hosts := newHosts(t)
	before := tr.settled(t, 0, 3)
	own := ""
	for id, at := range before {
		if at == "n3" {
			own = id
		}
	}
	if err := hosts.Isolate(tr.ctx, 3); err != nil {
		t.Fatal(err)
	}
	tr.replaced(t, 3)
	if alive := tr.births.alive(); alive[own] == 0 || len(alive) != 4 {
		t.Errorf("n3 is cut off and should keep %s; what runs: %v", own, alive)
	}
	tr.await(t, "n3's proxy serves from its own instance", func() bool { return tr.served(hosts, 2) })
	if err := hosts.Heal(tr.ctx); err != nil {
		t.Fatal(err)
	}
	now := tr.settled(t, 0, 3)
	if _, still := now[own]; still {
		t.Errorf("%s was replaced and serves again: %v", own, now)
	}

	tr.await(t, "n3 to be ready again", func() bool {
		v, err := tr.Nodes[0].API.NodeView(tr.ctx, "n3")
		return err == nil && (v.Status == nil || v.Status.State == core.NodeReady)
	})
	tr.apply(t, 0, "hello", 6) // so that n3 has some again
	if now := tr.settled(t, 0, 6); !on(now, "n3") {
		t.Fatalf("nothing is on n3: %v", now)
	}
	tr.vanishes(t, hosts)
	tr.onceEach(t)
	tr.oneRoot(t)
}

// vanishes ends every process of n3, and starts it late.
func (tr *trio) vanishes(t *testing.T, hosts *lab.Lab) {
	t.Helper()
	if err := hosts.Vanish(tr.ctx, 3); err != nil {
		t.Fatal(err)
	}
	now := tr.replaced(t, 6)
	if alive := tr.births.alive(); !sameKeys(alive, now) {
		t.Errorf("%v runs, %v serves", alive, now)
	}
	for i := range 2 {
		if !tr.served(hosts, i) {
			t.Errorf("%s does not serve", tr.Names[i])
		}
	}
	tr.await(t, "the end of n3's instard is noticed", func() bool { return !tr.Nodes[2].Running() })
	if err := tr.Nodes[2].Start(tr.ctx); err != nil {
		t.Fatal(err)
	}
	tr.await(t, "n3's proxy serves again", func() bool { return tr.served(hosts, 2) })
	tr.settled(t, 2, 6)
}
