package e2e

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/instarhq/instar/core"
	"github.com/instarhq/instar/e2e/node"
)

// account is a trio whose compute target all nodes share, as they would a cloud account; see e2e/account.
type account struct {
	*trio
	backend string // the driver's folder
	proxies []int  // the nodes whose proxies have a route; at first none
}

// call is a line of the driver's journal: what a node's driver was asked for ("create", "destroy"), and what it
// did ("made", "ended").
type call struct {
	Event, Instance, Node string
}

// newAccount runs the cluster, without a service.
func newAccount(t *testing.T) *account {
	t.Helper()
	dir, err := node.TempDir()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := os.RemoveAll(dir); err != nil {
			t.Error(err)
		}
	})
	a := &account{trio: &trio{dir: dir, births: newRegister(t)}, backend: filepath.Join(dir, "account")}
	if err := os.Mkdir(a.backend, 0o700); err != nil {
		t.Fatal(err)
	}
	driver := filepath.Join(dir, "plugins", "instar-compute-account")
	if err := node.BuildPackage(t.Context(), built.repository, "./e2e/account", driver); err != nil {
		t.Fatal(err)
	}
	a.Cluster, a.ctx = newMembersOf(t, built.bin, func(o *node.ClusterOptions) {
		for i := 1; i <= o.Voters; i++ { // not one of the bundled drivers, so the operator says that it may run
			if err := node.Lock(t.Context(), o.Bin, filepath.Join(o.Dir, fmt.Sprint("n", i)), driver); err != nil {
				t.Fatal(err)
			}
		}
		o.NodeConfig = func(i int) string {
			return fmt.Sprintf("plugin_dirs = [%q]\ncompute \"account\" \"shared\" { dir = %q }\ntraffic \"proxy\" \"edge%d\" {}\n", filepath.Dir(driver), a.backend, i)
		}
	})
	t.Cleanup(func() { a.close(t) })
	t.Cleanup(func() { a.tell(t) })
	return a
}

// expose gives the proxies of all nodes but one a route each, from the next version on: a route whose only proxy is
// on a silent node cannot be switched, and the one left out is to be silent.
func (a *account) expose(t *testing.T, not string) {
	t.Helper()
	a.proxies = a.others(not)
	for range a.proxies {
		address, err := node.FreeAddress()
		if err != nil {
			t.Fatal(err)
		}
		a.addresses = append(a.addresses, address)
	}
}

// close ends the instances, which no node's teardown knows of. It goes before the nodes' teardown, so that they
// are not there to make others.
func (a *account) close(t *testing.T) {
	for _, n := range a.Nodes {
		if err := errors.Join(n.Continue(), n.Stop(a.ctx)); err != nil && n.Running() {
			t.Error(err)
		}
	}
	for id, pid := range a.births.alive() {
		p, err := os.FindProcess(pid)
		if err == nil {
			err = p.Kill()
		}
		if err != nil && !errors.Is(err, os.ErrProcessDone) {
			t.Errorf("end %s: %v", id, err)
		}
	}
}

// tell shows what a failed test has come to.
func (a *account) tell(t *testing.T) {
	if !t.Failed() {
		return
	}
	t.Logf("the journal: %v", a.calls(t))
	for i, n := range a.Nodes {
		ctx, cancel := context.WithTimeout(a.ctx, 5*time.Second)
		instances, _ := n.CLI(ctx, "instance", "list")
		rollouts, _ := n.CLI(ctx, "rollout", "list")
		cancel()
		t.Logf("--- %s\n%s\n%s", a.Names[i], instances, rollouts)
	}
}

// declare applies a version of the service through a node.
func (a *account) declare(t *testing.T, through, version int, flags ...string) {
	t.Helper()
	var routes strings.Builder
	for i, address := range a.addresses {
		fmt.Fprintf(&routes, "  route \"web%d\" {\n    target = \"edge%d\"\n    listen = %q\n  }\n", i+1, a.proxies[i]+1, address)
	}
	file := filepath.Join(a.dir, "hello.hcl")
	text := fmt.Sprintf(`service "hello" {
  count = 3
  compute "account" { command = [%q, %q, %q] }
  port "http" {}
  env = {
    GREETING = "hello"
    VERSION  = "%d"
  }
  health "http" {
    path        = "/"
    interval    = "500ms"
    timeout     = "5s"
    healthy_for = "500ms"
  }
%s  rollout {
    bake          = "0s"
    keep_previous = "0s"
  }
}`, built.hello+"/announce", a.births.url, built.hello+"/hello", version, routes.String())
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	a.must(t, through, append(append([]string{"apply", "-yes"}, flags...), file)...)
}

// won waits until three instances of a version serve and its rollout is done for the user, and gives the node that
// acts for them. What was before may stay for as long as a node is silent whose proxy may send to it.
func (a *account) won(t *testing.T, at, version int) (holder string, ids map[string]string) {
	t.Helper()
	a.reached(t, at, version, core.RolloutRetiring)
	a.await(t, "three instances serve", func() bool {
		ids = a.serving(at)
		return len(ids) == 3
	})
	for id, name := range ids {
		if holder != "" && name != holder {
			t.Errorf("several nodes act for the instances: %v", ids)
		}
		if holder = name; a.births.revision(id) != fmt.Sprint(version) {
			t.Errorf("%s is of revision %q, not %d", id, a.births.revision(id), version)
		}
	}
	return holder, ids
}

// succeeded is won, and waits until nothing else is left.
func (a *account) succeeded(t *testing.T, at, version int) (holder string, ids map[string]string) {
	t.Helper()
	a.reached(t, at, version, core.RolloutSucceeded)
	a.settled(t, at, 3)
	return a.won(t, at, version)
}

// reached waits until the rollout to a version has got to a phase.
func (a *account) reached(t *testing.T, at, version int, phase core.RolloutPhase) {
	t.Helper()
	a.await(t, fmt.Sprintf("the rollout of version %d is %s", version, phase), func() bool {
		v, err := a.Nodes[at].API.Rollout(a.ctx, fmt.Sprintf("hello/%d", version))
		if err == nil && v.Rollout.Phase.Done() && !v.Rollout.Phase.Good() {
			t.Fatalf("the rollout ended as %s: %+v", v.Rollout.Phase, v.Rollout.Failure)
		}
		return err == nil && v.Rollout.Phase >= phase
	})
}

// calls reads the journal.
func (a *account) calls(t *testing.T) []call {
	t.Helper()
	data, err := os.ReadFile(filepath.Join(a.backend, "journal"))
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		t.Fatal(err)
	}
	var all []call
	for line := range bytes.Lines(data) {
		var c call
		if !bytes.HasSuffix(line, []byte("\n")) {
			break // it is being written
		}
		if err := json.Unmarshal(line, &c); err != nil {
			t.Fatalf("%q: %v", line, err)
		}
		all = append(all, c)
	}
	return all
}

// asked waits until a node that is not the one left out has asked for three instances after a place in the journal,
// and gives the node, and the place after which it began.
func (a *account) asked(t *testing.T, after int, not string) (holder string, from int) {
	t.Helper()
	ids := map[string]bool{}
	a.await(t, "three instances have been asked for", func() bool {
		holder = ""
		clear(ids)
		for i, c := range a.calls(t)[after:] {
			if c.Event != "create" || c.Node == not {
				continue
			}
			if holder == "" {
				holder, from = c.Node, after+i
			}
			if c.Node != holder {
				t.Fatalf("%s and %s both create: %v", holder, c.Node, a.calls(t)[after:])
			}
			ids[c.Instance] = true
		}
		return len(ids) == 3
	})
	return holder, from
}

// hold lets one more instance be made, whose maker gets no answer, and no other, until release.
func (a *account) hold(t *testing.T) {
	t.Helper()
	if err := os.WriteFile(filepath.Join(a.backend, "hold"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
}

// held waits until the one has been made.
func (a *account) held(t *testing.T) {
	t.Helper()
	a.await(t, "an instance is made whose maker gets no answer", func() bool {
		info, err := os.Stat(filepath.Join(a.backend, "hold"))
		return err == nil && info.Size() > 0
	})
}

// release ends the hold, once held has returned.
func (a *account) release(t *testing.T) {
	t.Helper()
	if err := os.Remove(filepath.Join(a.backend, "hold")); err != nil {
		t.Fatal(err)
	}
}

// onceAtBackend fails the test unless each instance was made once, and ended once if it does not live.
func (a *account) onceAtBackend(t *testing.T, living map[string]string) {
	t.Helper()
	a.onceEach(t)
	var made, ended map[string]int
	a.await(t, "everything superseded has ended at the back-end", func() bool {
		made, ended = map[string]int{}, map[string]int{}
		for _, c := range a.calls(t) {
			switch c.Event {
			case "made":
				made[c.Instance]++
			case "ended":
				ended[c.Instance]++
			}
		}
		return len(ended) >= len(made)-len(living)
	})
	if !sameKeys(made, a.births.counts()) {
		t.Errorf("the back-end made %v, and %v began", made, a.births.counts())
	}
	for id, n := range made {
		_, lives := living[id]
		if n != 1 || (ended[id] == 1) == lives || ended[id] > 1 {
			t.Errorf("%s was made %d times and ended %d times; it serves: %t", id, n, ended[id], lives)
		}
	}
}

// others are the places of the nodes but one.
func (a *account) others(name string) []int {
	i := slices.Index(a.Names, name)
	return []int{(i + 1) % 3, (i + 2) % 3}
}
