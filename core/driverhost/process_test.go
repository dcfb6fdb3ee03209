package driverhost_test

import (
	"encoding/json"
	"os"
	"path/filepath"
	"syscall"
	"testing"

	"github.com/instarhq/instar/core/driverhost"
)

// pid reads which process the target "good" has, from the record on disk.
func pid(t *testing.T, cfg driverhost.Config) int {
	t.Helper()
	data, err := os.ReadFile(filepath.Join(cfg.StateDir, "targets", "compute_good_local", "process.json"))
	if err != nil {
		t.Fatal(err)
	}
	var record struct {
		Current struct {
			PID int `json:"pid"`
		} `json:"current"`
	}
	if err := json.Unmarshal(data, &record); err != nil {
		t.Fatal(err)
	}
	return record.Current.PID
}

func kill(t *testing.T, pid int, sig syscall.Signal) {
	t.Helper()
	if err := syscall.Kill(pid, sig); err != nil {
		t.Fatalf("signal %v to %d: %v", sig, pid, err)
	}
}
