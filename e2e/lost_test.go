package e2e

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/instarhq/instar/core"
)

// artifact copies the shop to a place where it can be taken away.
func (c *cluster) artifact() string {
	c.Helper()
	dir := filepath.Join(c.dir, "artifact")
	if err := os.CopyFS(dir, os.DirFS(built.shop)); err != nil {
		c.Fatal(err)
	}
	for _, program := range []string{"announce", "shop"} {
		if err := os.Chmod(filepath.Join(dir, program), 0o755); err != nil {
			c.Fatal(err)
		}
	}
	return dir
}

// drivers are the processes of the drivers, by the names of their targets' directories.
func (c *cluster) drivers() map[string]int {
	c.Helper()
	files, err := filepath.Glob(filepath.Join(c.dir, "d", "drivers", "targets", "*", "process.json"))
	if err != nil || len(files) == 0 {
		c.Fatalf("no process.json: %v", err)
	}
	pids := map[string]int{}
	for _, file := range files {
		data, err := os.ReadFile(file)
		var record struct {
			Current struct {
				PID int `json:"pid"`
			} `json:"current"`
		}
		if err == nil {
			err = json.Unmarshal(data, &record)
		}
		if err != nil {
			c.Fatal(err)
		}
		pids[filepath.Base(filepath.Dir(file))] = record.Current.PID
	}
	return pids
}

// lose removes the data directory, as a mistake or a new disk would, and the artifact's source.
func (c *cluster) lose(artifact string) {
	c.Helper()
	for _, dir := range []string{filepath.Join(c.dir, "d"), artifact} {
		if err := os.RemoveAll(dir); err != nil {
			c.Fatal(err)
		}
	}
}

func gone(pid int) bool { return syscall.Kill(pid, 0) != nil }

// A machine that has lost everything, also the artifact's source, has its service back from a snapshot alone.
func TestRestoreOfEverything(t *testing.T) {
	t.Parallel()
	c := newCluster(t)
	artifact := c.artifact()
	c.deploy("version=1", "artifact="+artifact)
	file := filepath.Join(c.dir, "one.instar")
	if m := c.saved(file, "-artifacts"); len(m.Artifacts) != 1 || len(m.Missing) != 0 {
		t.Fatalf("the snapshot has artifacts %+v, and lacks %+v", m.Artifacts, m.Missing)
	}
	if err := c.node.Kill(); err != nil {
		t.Fatal(err)
	}
	var pids []int
	for _, pid := range c.drivers() {
		pids = append(pids, pid)
	}
	for _, pid := range c.births.alive() {
		pids = append(pids, pid)
	}
	for _, pid := range pids {
		if err := syscall.Kill(pid, syscall.SIGKILL); err != nil {
			t.Fatal(err)
		}
	}
	c.await("the end of everything", func() bool { return len(c.births.alive()) == 0 })
	c.lose(artifact)

	c.restore(file, "-rebuild")
	c.await("the recovery's end", func() bool { _, ok := c.recovery(); return !ok })
	c.await("the wanted instances", func() bool { return len(c.serving()) == 2 })
	customers := c.customers(0.2)
	for _, line := range customers.Stop().Failures(10) {
		t.Errorf("failed: %s", line)
	}
	c.await("the kept artifact to be handed over", func() bool {
		files, err := filepath.Glob(filepath.Join(c.dir, "d", "artifacts", "*", "*"))
		return err == nil && len(files) == 0
	})
	if m := c.saved(filepath.Join(c.dir, "two.instar"), "-artifacts"); len(m.Artifacts) != 1 {
		t.Errorf("the next snapshot has artifacts %+v, and lacks %+v", m.Artifacts, m.Missing)
	}
}

// While the data directory is lost drivers and instances run on, and customers are served. The new drivers
// find what the old ones had: the proxy takes over, and instances of which nothing is left but the process
// are replaced and ended.
func TestRestoreUnderWhatRuns(t *testing.T) {
	t.Parallel()
	c := newCluster(t)
	artifact := c.artifact()
	c.deploy("version=1", "artifact="+artifact)
	file := filepath.Join(c.dir, "one.instar")
	c.saved(file, "-artifacts")
	c.must("service", "scale", "shop", "3") // which the snapshot does not know
	c.await("a third instance", func() bool { return len(c.serving()) == 3 })
	before, drivers := c.births.alive(), c.drivers()
	customers := c.customers(0.2)
	if err := c.node.Kill(); err != nil {
		t.Fatal(err)
	}
	c.lose(artifact)

	c.restore(file)
	c.await("every target to say what it has", func() bool {
		view, ok := c.recovery()
		return ok && len(view.Silent) == 0 && view.Classes[core.ClassDrifted] == 3
	})
	c.await("the end of the old drivers", func() bool {
		for _, pid := range drivers {
			if !gone(pid) {
				return false
			}
		}
		return true
	})
	if now := c.births.alive(); len(now) != len(before) {
		t.Errorf("before the approval %d instances run, before the loss it were %d", len(now), len(before))
	}
	c.must("recovery", "approve", "-yes")
	c.await("the recovery's end", func() bool { _, ok := c.recovery(); return !ok })
	c.await("the end of what was found", func() bool {
		for _, pid := range before {
			if !gone(pid) {
				return false
			}
		}
		return true
	})
	c.await("the wanted instances", func() bool { return len(c.serving()) == 2 && len(c.births.alive()) == 2 })
	result := customers.Stop()
	for _, line := range result.Failures(10) {
		t.Errorf("I8: failed: %s", line)
	}
	if log := c.node.Log(2000); strings.Contains(log, "address already in use") {
		t.Errorf("the listener was not handed over:\n%s", log)
	}
}
