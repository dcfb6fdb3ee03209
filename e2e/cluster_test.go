package e2e

import (
	"bytes"
	"context"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/instarhq/instar/core"
	"github.com/instarhq/instar/core/api/client"
	"github.com/instarhq/instar/e2e/judge"
	"github.com/instarhq/instar/e2e/load"
	"github.com/instarhq/instar/e2e/node"
)

// cluster is one instard with everything that a test needs around it.
type cluster struct {
	*testing.T
	node   *node.Node
	dir    string
	listen string // where the shop's customers go
	births *register
}

// newCluster runs an instard -dev.
func newCluster(t *testing.T) *cluster {
	t.Helper()
	return startCluster(t, node.Options{}, func(string) {})
}

// startCluster runs an instard as the options say, after prepare has been given the data directory's name.
func startCluster(t *testing.T, options node.Options, prepare func(dataDir string)) *cluster {
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
	c := &cluster{T: t, dir: dir, births: newRegister(t)}
	if c.listen, err = node.FreeAddress(); err != nil {
		t.Fatal(err)
	}
	options.Bin, options.DataDir = built.bin, filepath.Join(dir, "d")
	prepare(options.DataDir)
	if c.node, err = node.Start(t.Context(), options); c.node != nil {
		t.Cleanup(c.tearDown)
	}
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// tearDown ends everything, and finds data races and orphans.
func (c *cluster) tearDown() {
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	if err := c.node.Teardown(ctx); err != nil {
		c.Error(err)
	}
	if alive := c.births.alive(); len(alive) > 0 {
		c.Errorf("instances outlived the teardown: %v", alive)
	}
	c.reportRaces()
	if c.Failed() {
		c.Logf("the daemon's last words:\n%s", c.node.Log(60))
	}
}

// reportRaces fails the test if a process under test, daemon or driver, reported a data race.
func (c *cluster) reportRaces() {
	logs, err := filepath.Glob(c.node.LogPath())
	if err != nil {
		c.Fatal(err)
	}
	err = filepath.WalkDir(filepath.Join(c.dir, "d"), func(path string, entry os.DirEntry, err error) error {
		if err == nil && !entry.IsDir() && strings.HasSuffix(path, ".log") {
			logs = append(logs, path)
		}
		return nil // what vanishes during the walk is no log of a race
	})
	if err != nil {
		c.Error(err)
	}
	for _, path := range logs {
		data, err := os.ReadFile(path)
		if err != nil {
			continue
		}
		if i := bytes.Index(data, []byte("WARNING: DATA RACE")); i >= 0 {
			c.Errorf("%s:\n%.4000s", path, data[i:])
		}
	}
}

// instar runs the client and returns its exit code and output.
func (c *cluster) instar(args ...string) (int, string) {
	c.Helper()
	ctx, cancel := context.WithTimeout(c.Context(), 2*time.Minute)
	defer cancel()
	out, err := c.node.CLI(ctx, args...)
	var exit *exec.ExitError
	if errors.As(err, &exit) {
		return exit.ExitCode(), out
	}
	if err != nil {
		c.Fatalf("instar %v: %v\n%s", args, err, out)
	}
	return 0, out
}

// must is instar for commands that have to succeed.
func (c *cluster) must(args ...string) string {
	c.Helper()
	code, out := c.instar(args...)
	if code != 0 {
		c.Fatalf("instar %s: exit code %d\n%s", strings.Join(args, " "), code, out)
	}
	return out
}

// shop makes the arguments that apply the shop with the given variables, NAME=VALUE.
func (c *cluster) shop(variables ...string) []string {
	args := []string{"apply", "-yes", "testdata/shop.hcl"}
	given := append([]string{"artifact=" + built.shop, "births=" + c.births.url, "listen=" + c.listen}, variables...)
	for _, v := range given {
		args = append(args, "-var", v)
	}
	return args
}

// deploy applies the shop and waits until the rollout has succeeded.
func (c *cluster) deploy(variables ...string) {
	c.Helper()
	c.must(c.shop(variables...)...)
}

// refuse applies the shop and wants its rollout to fail; it returns what the client said.
func (c *cluster) refuse(variables ...string) string {
	c.Helper()
	code, out := c.instar(c.shop(variables...)...)
	if code != 1 {
		c.Fatalf("a bad revision: exit code %d, want 1\n%s", code, out)
	}
	return out
}

func (c *cluster) service() core.ServiceView {
	c.Helper()
	view, err := c.node.API.Service(c.Context(), "shop", 0)
	if err != nil {
		c.Fatal(err)
	}
	return view
}

// instances lists the shop's instances of every revision, by id.
func (c *cluster) instances() map[string]core.InstanceView {
	c.Helper()
	page, err := c.node.API.Instances(c.Context(), client.List{Service: "shop", Limit: 1000})
	if err != nil {
		c.Fatal(err)
	}
	found := map[string]core.InstanceView{}
	for _, v := range page.Items {
		found[v.Instance.ID] = v
	}
	return found
}

// serving lists the healthy instances of the active revision that are wanted.
func (c *cluster) serving() map[string]core.InstanceView {
	c.Helper()
	active := c.service().Service.Active
	found := c.instances()
	for id, v := range found {
		if v.Instance.Revision != active || v.Instance.Desired != core.DesiredRun || v.Status == nil || !v.Status.Healthy {
			delete(found, id)
		}
	}
	return found
}

// rollout reads the shop's newest rollout.
func (c *cluster) rollout() core.Rollout {
	c.Helper()
	view := c.service()
	if view.Rollout == nil {
		c.Fatal("the shop has no rollout")
	}
	return view.Rollout.Rollout
}

// await polls until the condition holds.
func (c *cluster) await(what string, condition func() bool) {
	c.Helper()
	deadline := time.Now().Add(45 * time.Second)
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for !condition() {
		if time.Now().After(deadline) {
			c.Fatalf("not within 45 s: %s", what)
		}
		<-tick.C
	}
}

// customers sends the shop's usual mix until the test asks what they saw.
func (c *cluster) customers(scale float64) *load.Run {
	c.Helper()
	run, err := load.Start(c.Context(), load.Config{
		Target: c.listen, RevisionHeader: load.ShopRevisionHeader, Streams: load.ShopStreams(scale),
	})
	if err != nil {
		c.Fatal(err)
	}
	c.Cleanup(func() { run.Stop() })
	return run
}

// records reads the whole audit log.
func (c *cluster) records() []core.Record {
	c.Helper()
	records, err := judge.Read(c.Context(), c.node.API)
	if err != nil {
		c.Fatal(err)
	}
	return records
}

// satisfied fails the test if a customer noticed anything (I8), judged against the log.
func (c *cluster) satisfied(result *load.Result) {
	c.Helper()
	served, err := judge.Serving(c.records(), "shop")
	if err != nil {
		c.Fatal(err)
	}
	for _, line := range result.Failures(10) {
		c.Errorf("I8: failed: %s", line)
	}
	for i, line := range result.WrongRevision(served) {
		if i < 10 {
			c.Errorf("I8: wrong revision: %s", line)
		}
	}
	if result.Lost != 0 {
		c.Errorf("I8: %d of %d WebSocket sessions were lost", result.Lost, result.Sessions)
	}
	c.Logf("%d requests, %d failed; %d WebSocket sessions, %d lost; %d switches", len(result.Records), result.Failed(),
		result.Sessions, result.Lost, len(served)-1)
}

// hold fails the test if a check finds its invariant broken in the log.
func (c *cluster) hold(check func([]core.Record) ([]string, error)) {
	c.Helper()
	broken, err := check(c.records())
	if err != nil {
		c.Fatal(err)
	}
	for i, line := range broken {
		if i < 10 {
			c.Error(line)
		}
	}
}
