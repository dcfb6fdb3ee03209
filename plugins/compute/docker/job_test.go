package docker_test

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/instarhq/instar/plugins/compute/docker"
	"github.com/instarhq/instar/sdk"
)

// roleEnv makes the test binary a driver process of its own instead of running tests: its value is a
// driverJob.
const roleEnv = "INSTAR_TEST_DRIVER_JOB"

// driverJob is what a driver process does before it waits to be killed.
type driverJob struct {
	Configure sdk.ConfigureRequest
	Create    []sdk.InstanceSpec
	Destroy   []string
	CrashAt   string // the step at which it kills itself
}

func runJob(text string) error {
	var job driverJob
	if err := json.Unmarshal([]byte(text), &job); err != nil {
		return err
	}
	docker.SetCrash(func(step string) {
		if step == job.CrashAt {
			_ = syscall.Kill(os.Getpid(), syscall.SIGKILL)
			select {}
		}
	})
	ctx := context.Background()
	d := docker.New()
	if err := d.Configure(ctx, job.Configure); err != nil {
		return err
	}
	for _, spec := range job.Create {
		if _, err := d.Create(ctx, spec); err != nil {
			return err
		}
	}
	for _, id := range job.Destroy {
		if err := d.Destroy(ctx, id, time.Second); err != nil {
			return err
		}
	}
	fmt.Println("done")
	return nil
}

// crashed runs a driver process that must end by its own hand.
func crashed(t *testing.T, job driverJob) {
	t.Helper()
	text, err := json.Marshal(job)
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.CommandContext(t.Context(), os.Args[0])
	cmd.Env = append(os.Environ(), roleEnv+"="+string(text))
	cmd.Stderr = os.Stderr
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	defer func() { _ = cmd.Process.Kill() }() // it has ended, if all is well
	lines := bufio.NewScanner(out)
	for lines.Scan() {
		if line := lines.Text(); line == "done" || strings.HasPrefix(line, "error:") {
			t.Fatalf("the driver process said %q instead of crashing at %q", line, job.CrashAt)
		}
	}
	_ = cmd.Wait() // says "signal: killed", which is checked here
	if ws := cmd.ProcessState.Sys().(syscall.WaitStatus); !ws.Signaled() || ws.Signal() != syscall.SIGKILL {
		t.Fatalf("the driver process ended with %v, not by its crash", cmd.ProcessState)
	}
}
