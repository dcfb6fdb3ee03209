package e2e

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/instarhq/instar/core"
	"github.com/instarhq/instar/core/api/client"
	"github.com/instarhq/instar/e2e/node"
)

const (
	oldVersion = "1.2.3"
	newVersion = "1.3.0"
)

// versions builds two instards in folders of their own: one that reads the stored formats up to the level
// before rolling rollouts, and this one.
func versions(t *testing.T) (before, now string) {
	t.Helper()
	dir := t.TempDir()
	before, now = filepath.Join(dir, "before"), filepath.Join(dir, "now")
	// Not core.Level itself: to build everything that knows it again would take a minute.
	const path = "cmd/instard/configure.go"
	source, err := node.Substitute(built.repository, path, `(?m)^\tconfig\.Membership = membership\(file\)$`,
		fmt.Sprintf("\tif config.Membership = membership(file); config.Membership != nil {\n\t\tconfig.Membership.Level = %d\n\t}", core.LevelRolling-1))
	if err != nil {
		t.Fatal(err)
	}
	for _, v := range []node.Variant{
		{Bin: built.bin, Out: before, Version: oldVersion, Race: true, Files: map[string][]byte{path: source}},
		{Bin: built.bin, Out: now, Version: newVersion, Race: true},
	} {
		if err := node.BuildVariant(t.Context(), built.repository, v); err != nil {
			t.Fatal(err)
		}
	}
	return before, now
}

// Nodes of two versions are one cluster: it stays at the level of the older ones, takes writes and carries
// rollouts out whoever leads, and refuses what only the newer ones could read. It is upgraded node by node
// without a lost request, the level rises with the last one, and then the older version is refused.
func TestTwoVersionsInOneCluster(t *testing.T) {
	t.Parallel()
	before, now := versions(t)
	tr := newTrioOf(t, before)
	old := tr.level(t)
	if old >= core.LevelRolling {
		t.Fatalf("a cluster of old nodes is at level %d", old)
	}
	shoppers := startCustomers(tr.addresses)
	tr.upgrade(t, 2, now)
	for i, leaders := range [][]string{{"n1", "n2"}, {"n3"}} {
		tr.lead(t, leaders)
		tr.apply(t, i, fmt.Sprint("hello from level ", old, " led by ", leaders[0]), 3)
		for at := range tr.Nodes {
			tr.must(t, at, "cluster", "token", "create")
			tr.refusesRolling(t, at, tr.Names[0], tr.Names[1])
		}
		if level := tr.level(t); level != old {
			t.Errorf("with %v leading and two old nodes the level is %d", leaders, level)
		}
	}
	tr.upgrade(t, 0, now)
	tr.refusesRolling(t, 2, tr.Names[1])
	tr.upgrade(t, 1, now)
	tr.await(t, "the level to rise with the last node", func() bool { return tr.level(t) == core.Level })
	tr.rolling(t, "hello from all")
	shoppers.leave(t)
	tr.onceEach(t)
	tr.oneRoot(t)
	tr.refusesToStart(t, before, now)
	tr.refusesToJoin(t, before)
}

// level is what the cluster writes, as a node that answers says.
func (tr *trio) level(t *testing.T) int {
	t.Helper()
	status, err := tr.Nodes[0].API.ClusterStatus(tr.ctx)
	if err != nil {
		t.Fatal(err)
	}
	return status.Level
}

// upgrade restarts a node with the binaries of another folder.
func (tr *trio) upgrade(t *testing.T, at int, bin string) {
	t.Helper()
	tr.Nodes[at].Use(bin)
	if err := tr.Nodes[at].Restart(tr.ctx); err != nil {
		t.Fatal(err)
	}
	if err := tr.AwaitVoters(tr.ctx, 3); err != nil {
		t.Fatal(err)
	}
}

// lead stops whoever leads for a while until one of those named does.
func (tr *trio) lead(t *testing.T, names []string) {
	t.Helper()
	for {
		at, err := tr.Leader(tr.ctx)
		if err != nil {
			t.Fatal(err)
		}
		for _, name := range names {
			if tr.Names[at] == name {
				return
			}
		}
		if err := tr.Nodes[at].Pause(); err != nil {
			t.Fatal(err)
		}
		_, err = tr.Leader(tr.ctx, tr.Names[at])
		if err := tr.Nodes[at].Continue(); err != nil {
			t.Fatal(err)
		}
		if err != nil {
			t.Fatal(err)
		}
		if err := tr.AwaitVoters(tr.ctx, 3); err != nil {
			t.Fatal(err)
		}
	}
}

// declareRolling writes the service that was applied last with another strategy and greeting, and gives the file.
func (tr *trio) declareRolling(t *testing.T, greeting string) string {
	t.Helper()
	data, err := os.ReadFile(filepath.Join(tr.dir, "hello.hcl"))
	if err != nil {
		t.Fatal(err)
	}
	data = bytes.Replace(data, []byte("keep_previous = \"0s\""), []byte("strategy = \"rolling\""), 1)
	data = bytes.Replace(data, []byte("GREETING = \""), []byte("GREETING = \""+greeting+" "), 1)
	file := filepath.Join(tr.dir, "rolling.hcl")
	if err := os.WriteFile(file, data, 0o600); err != nil {
		t.Fatal(err)
	}
	return file
}

// refusesRolling applies what needs the newer level, and wants to be told who keeps the cluster at the older one.
func (tr *trio) refusesRolling(t *testing.T, at int, olds ...string) {
	t.Helper()
	out, err := tr.Nodes[at].CLI(tr.ctx, "apply", "-yes", tr.declareRolling(t, "never"))
	want := []string{fmt.Sprintf("needs stored formats of level %d", core.LevelRolling), "install the newest instard on " + strings.Join(olds, ", ")}
	if err == nil {
		t.Fatalf("%s takes what %v cannot read:\n%s", tr.Names[at], olds, out)
	}
	for _, w := range want {
		if !strings.Contains(out, w) {
			t.Errorf("%s refuses without %q:\n%s", tr.Names[at], w, out)
		}
	}
}

// rolling applies what needs the newer level, and waits until it is done.
func (tr *trio) rolling(t *testing.T, greeting string) {
	t.Helper()
	tr.must(t, 0, "apply", "-yes", tr.declareRolling(t, greeting))
}

// tooOld is what an old instard says to a newer level.
func tooOld(t *testing.T, said string) {
	t.Helper()
	for _, want := range []string{
		fmt.Sprintf("level %d", core.Level), fmt.Sprintf("up to level %d", core.LevelRolling-1), oldVersion, "install instard " + newVersion, "n1",
	} {
		if !strings.Contains(said, want) {
			t.Errorf("the refusal lacks %q:\n%s", want, said)
		}
	}
}

// refusesToStart runs the old version on a node of the newer level, and then the new one again.
func (tr *trio) refusesToStart(t *testing.T, before, now string) {
	t.Helper()
	n := tr.Nodes[1]
	if err := n.Stop(tr.ctx); err != nil {
		t.Fatal(err)
	}
	n.Use(before)
	began := time.Now()
	err := n.Start(tr.ctx)
	if err == nil {
		t.Fatal("the old version runs on formats that it cannot read")
	}
	if n.Running() {
		t.Errorf("the old version still runs after %s", time.Since(began))
	}
	tooOld(t, err.Error())
	n.Use(now)
	if err := n.Start(tr.ctx); err != nil {
		t.Fatal(err)
	}
}

// refusesToJoin lets an old node ask to be a member.
func (tr *trio) refusesToJoin(t *testing.T, before string) {
	t.Helper()
	made, err := tr.Nodes[0].API.CreateJoinToken(tr.ctx, client.Write{}, core.JoinTokenRequest{Role: core.RoleWorker})
	if err != nil {
		t.Fatal(err)
	}
	fourth, err := tr.Add(tr.ctx) // with the folder that the cluster was begun with
	if err != nil {
		t.Fatal(err)
	}
	if fourth.Binary("instard") != filepath.Join(before, "instard") {
		t.Fatalf("the fourth node is %s", fourth.Binary("instard"))
	}
	err = fourth.Join(tr.ctx, made.Text)
	if core.CodeOf(err) != core.CodeUnsupported {
		t.Errorf("an old node joins: %v", err)
		return
	}
	said := err.Error()
	if e, ok := core.AsError(err); ok {
		said += "\n" + e.Hint
	}
	tooOld(t, said)
}
