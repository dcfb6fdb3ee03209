package driverhost_test

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"testing"

	"github.com/instarhq/instar/core/driverhost"
)

// runHostProcess is a daemon of which only the driver host is there: it opens the target, says so, and
// waits to be killed.
func runHostProcess() {
	var cfg driverhost.Config
	if err := json.Unmarshal([]byte(os.Args[1]), &cfg); err != nil {
		panic(err)
	}
	h, err := driverhost.New(cfg)
	if err == nil {
		err = h.Open(context.Background(), good("from the child"))
	}
	fmt.Println("open:", err)
	select {}
}

func TestReattachAfterSIGKILL(t *testing.T) {
	t.Parallel()
	plugins := install(t, "instar-compute-good", "host")
	cfg := config(t, plugins)
	data, err := json.Marshal(cfg)
	if err != nil {
		t.Fatal(err)
	}
	child := exec.Command(filepath.Join(plugins, "host"), string(data))
	out, err := child.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := child.Start(); err != nil {
		t.Fatal(err)
	}
	buf := make([]byte, 64)
	n, err := out.Read(buf)
	if err != nil || string(buf[:n]) != "open: <nil>\n" {
		t.Fatalf("the child says %q, %v", buf[:n], err)
	}
	before := pid(t, cfg)
	if err := child.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	_ = child.Wait() // killed
	kill(t, before, syscall.SIGHUP)
	kill(t, before, syscall.SIGINT)
	kill(t, before, syscall.SIGPIPE)

	h := start(t, cfg)
	open(t, h, good("from the parent"))
	healthy(t, h)
	if after := pid(t, cfg); after != before {
		t.Errorf("process %d was replaced by %d", before, after)
	}
	lines := configurations(t, cfg.StateDir)
	want := fmt.Sprintf("[%d from the child %d from the parent]", before, before)
	if fmt.Sprint(lines) != want {
		t.Errorf("configured %q, want %s", lines, want)
	}
}
