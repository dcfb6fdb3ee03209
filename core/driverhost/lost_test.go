package driverhost_test

import (
	"os"
	"testing"
	"time"

	"github.com/instarhq/instar/core/driverhost"
)

// The whole state directory is lost while drivers run. The next host launches a new process, and when that is
// configured ends the old one, which nobody could ever attach to again; a host elsewhere touches neither.
func TestLostStateDirectory(t *testing.T) {
	t.Parallel()
	cfg := config(t, install(t, "instar-compute-good"))
	first, err := driverhost.New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	open(t, first, good("one"))
	if err := first.Close(); err != nil {
		t.Fatal(err)
	}
	old := pid(t, cfg)
	if err := os.RemoveAll(cfg.StateDir); err != nil {
		t.Fatal(err)
	}

	elsewhere := start(t, config(t, cfg.PluginDirs[0]))
	open(t, elsewhere, good("one"))
	if err := elsewhere.EndOthers(t.Context()); err != nil {
		t.Fatal(err)
	}
	if gone(old) {
		t.Error("another host has ended the process")
	}

	second := start(t, cfg)
	open(t, second, good("one"))
	create(t, compute(t, second), "web-1")
	eventually(t, 30*time.Second, "the end of the old process", func() bool { return gone(old) })
	if now := pid(t, cfg); gone(now) {
		t.Errorf("the new process %d has ended, too", now)
	}
}

// One whose target is configured no more is ended as well.
func TestLostStateDirectoryOfAFormerTarget(t *testing.T) {
	t.Parallel()
	cfg := config(t, install(t, "instar-compute-good"))
	first, err := driverhost.New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	open(t, first, good("one"))
	if err := first.Close(); err != nil {
		t.Fatal(err)
	}
	old := pid(t, cfg)
	if err := os.RemoveAll(cfg.StateDir); err != nil {
		t.Fatal(err)
	}
	second := start(t, cfg)
	if err := second.EndOthers(t.Context()); err != nil {
		t.Fatal(err)
	}
	if !gone(old) {
		t.Error("the process of a target that is not configured any more still runs")
	}
}
