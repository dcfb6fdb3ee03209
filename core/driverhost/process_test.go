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
	found, err := findPID(cfg)
	if err != nil {
		t.Fatal(err)
	}
	return found
}

// findPID is pid for a moment at which there may be no record.
func findPID(cfg driverhost.Config) (int, error) {
	data, err := os.ReadFile(filepath.Join(cfg.StateDir, "targets", "compute_good_local", "process.json"))
	if err != nil {
		return 0, err
	}
	var record struct {
		Current struct {
			PID int `json:"pid"`
		} `json:"current"`
	}
	err = json.Unmarshal(data, &record)
	return record.Current.PID, err
}

func kill(t *testing.T, pid int, sig syscall.Signal) {
	t.Helper()
	if err := syscall.Kill(pid, sig); err != nil {
		t.Fatalf("signal %v to %d: %v", sig, pid, err)
	}
}
