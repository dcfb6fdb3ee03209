package process_test

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"syscall"
	"testing"
	"time"

	"github.com/instarhq/instar/plugins/compute/process"
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

func TestMain(m *testing.M) {
	if job := os.Getenv(roleEnv); job != "" {
		if err := runJob(job); err != nil {
			fmt.Println("error:", err)
			os.Exit(1)
		}
		select {} // until it is killed
	}
	os.Exit(m.Run())
}

func runJob(text string) error {
	var job driverJob
	if err := json.Unmarshal([]byte(text), &job); err != nil {
		return err
	}
	process.SetCrash(func(step string) {
		if step == job.CrashAt {
			_ = syscall.Kill(os.Getpid(), syscall.SIGKILL)
			select {}
		}
	})
	ctx := context.Background()
	d := process.New()
	if err := d.Configure(ctx, job.Configure); err != nil {
		return err
	}
	for _, spec := range job.Create {
		if _, err := d.Create(ctx, spec); err != nil {
			return err
		}
		fmt.Println("created", spec.ID)
	}
	for _, id := range job.Destroy {
		if err := d.Destroy(ctx, id, time.Second); err != nil {
			return err
		}
	}
	fmt.Println("done")
	return nil
}

// otherDriver is a driver in a process of its own.
type otherDriver struct {
	cmd   *exec.Cmd
	lines *bufio.Scanner
}

func startOther(t *testing.T, job driverJob) *otherDriver {
	t.Helper()
	text, err := json.Marshal(job)
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), roleEnv+"="+string(text))
	cmd.Stderr = os.Stderr
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	o := &otherDriver{cmd: cmd, lines: bufio.NewScanner(out)}
	t.Cleanup(o.kill)
	return o
}

// done waits until the job is done and fails if the process ended or reported an error instead.
func (o *otherDriver) done(t *testing.T) {
	t.Helper()
	for o.lines.Scan() {
		switch line := o.lines.Text(); {
		case line == "done":
			return
		case len(line) > 6 && line[:6] == "error:":
			t.Fatalf("driver process: %s", line)
		}
	}
	t.Fatal("the driver process ended before its job was done")
}

// died waits until the process has ended by SIGKILL, by its own hand.
func (o *otherDriver) died(t *testing.T) {
	t.Helper()
	for o.lines.Scan() {
		if o.lines.Text() != "" && o.lines.Text() == "done" {
			t.Fatal("the driver process came to the end without passing the step at which it should have crashed")
		}
		if line := o.lines.Text(); len(line) > 6 && line[:6] == "error:" {
			t.Fatalf("driver process: %s", line)
		}
	}
	_ = o.cmd.Wait() // says "signal: killed", which is checked here
	if ws := o.cmd.ProcessState.Sys().(syscall.WaitStatus); !ws.Signaled() || ws.Signal() != syscall.SIGKILL {
		t.Fatalf("the driver process ended with %v, not by its crash", o.cmd.ProcessState)
	}
}

// kill ends the process as a crash would.
func (o *otherDriver) kill() {
	if o.cmd.ProcessState == nil {
		_ = o.cmd.Process.Kill()
		_ = o.cmd.Wait()
	}
}
