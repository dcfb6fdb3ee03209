package process

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"github.com/instarhq/instar/plugins/compute/process/cgroup"
	"github.com/instarhq/instar/plugins/compute/process/launch"
	"github.com/instarhq/instar/plugins/compute/process/procfs"
	"github.com/instarhq/instar/sdk"
)

// instance is one instance of the target. rec, dir and group never change.
type instance struct {
	rec   record
	dir   string
	group cgroup.Group

	mu       sync.Mutex
	state    sdk.InstanceState
	exit     *sdk.Exit
	id       procfs.Identity // of the process, once it was started
	started  time.Time
	process  *procfs.Handle // while it runs
	stopping bool           // Destroy is at work: what is left after the end still has its grace
	ended    chan struct{}  // closed when it has ended
}

func (t *target) newInstance(rec record) *instance {
	return &instance{
		rec: rec, dir: t.instanceDir(rec.ID), group: t.groups.Group(rec.ID),
		state: sdk.StateCreating, ended: make(chan struct{}),
	}
}

// root is the directory that the instance itself sees as its own.
func (i *instance) root() string { return rootIn(i.dir) }

func rootIn(dir string) string { return filepath.Join(dir, "dir") }

// status is a consistent copy of what changes.
func (i *instance) status() (sdk.InstanceState, *sdk.Exit) {
	i.mu.Lock()
	defer i.mu.Unlock()
	return i.state, i.exit
}

func (i *instance) running() bool {
	state, _ := i.status()
	return state == sdk.StateRunning
}

// letGo stops watching the process, which goes on.
func (i *instance) letGo() error {
	i.mu.Lock()
	defer i.mu.Unlock()
	if i.process == nil {
		return nil
	}
	handle := i.process
	i.process = nil
	return handle.Close()
}

// follow takes up a process that was started, in this life of the driver or in an earlier one, and waits
// for its end in the background.
func (t *target) follow(i *instance, id procfs.Identity) error {
	handle, err := id.Open()
	if errors.Is(err, os.ErrNotExist) {
		i.mu.Lock()
		i.id, i.started = id, i.startTime()
		i.mu.Unlock()
		return t.finish(i, missed(id, i.group))
	}
	if err != nil {
		return fmt.Errorf("instance %s: %w", i.rec.ID, err)
	}
	i.mu.Lock()
	i.id, i.process, i.state, i.started = id, handle, sdk.StateRunning, i.startTime()
	i.mu.Unlock()
	t.hub.changed(i.rec.ID)
	t.waiting.Go(func() { t.await(i, handle) })
	if err := i.label(); err != nil {
		t.logger.Warn("an instance's output cannot be labelled; should its record be lost, its environment must do", "instance", i.rec.ID, "error", err)
	}
	return nil
}

// startTime is when the marker was written.
func (i *instance) startTime() time.Time {
	if info, err := os.Stat(filepath.Join(i.dir, launch.MarkerFile)); err == nil {
		return info.ModTime()
	}
	return i.rec.Created
}

// await is the life of an instance's process as the driver sees it.
func (t *target) await(i *instance, handle *procfs.Handle) {
	if err := handle.Wait(); err != nil {
		return // let go
	}
	at := time.Now()
	status := handle.Collect()
	if err := t.finish(i, describeExit(i, status, at)); err != nil {
		t.logger.Error("an instance's end could not be written down", "instance", i.rec.ID, "error", err)
	}
	if err := i.letGo(); err != nil {
		t.logger.Error("closing the handle of a process that has ended", "instance", i.rec.ID, "error", err)
	}
}

// finish makes the end of an instance known, and ends what its main process has left behind.
func (t *target) finish(i *instance, exit sdk.Exit) error {
	i.mu.Lock()
	stopping := i.stopping
	i.mu.Unlock()
	var errs []error
	if !stopping {
		errs = append(errs, i.killRest())
	}
	errs = append(errs, writeExit(i.dir, exit))
	i.mu.Lock()
	i.state, i.exit = sdk.StateExited, &exit
	close(i.ended)
	i.mu.Unlock()
	t.hub.changed(i.rec.ID)
	t.logs.Poke(i.rec.ID)
	return errors.Join(errs...)
}

// describeExit puts the end of a process into words.
func describeExit(i *instance, status procfs.Status, at time.Time) sdk.Exit {
	i.mu.Lock()
	after := at.Sub(i.started)
	i.mu.Unlock()
	exit := sdk.Exit{Code: -1, At: at.UTC(), OOM: outOfMemory(i.group)}
	lasted := "after " + roundDuration(after).String()
	switch {
	case exit.OOM && i.rec.Resources.Memory > 0:
		exit.Signal = "SIGKILL"
		exit.Message = fmt.Sprintf("ran out of memory (limit %d bytes) %s", i.rec.Resources.Memory, lasted)
	case !status.Known:
		exit.Message = "ended " + lasted + "; its status is not known, because the driver was restarted while it ran"
	case status.Signal != 0:
		exit.Signal = unix.SignalName(status.Signal)
		exit.Message = "ended by " + exit.Signal + " " + lasted
	default:
		exit.Code = status.Code
		exit.Message = fmt.Sprintf("exited with status %d %s", status.Code, lasted)
	}
	return exit
}

// missed describes an end that no driver has seen.
func missed(id procfs.Identity, group cgroup.Group) sdk.Exit {
	exit := sdk.Exit{
		Code: -1, At: time.Now().UTC(), OOM: outOfMemory(group),
		Message: "ended while the driver was not running; its status is not known",
	}
	if boot, err := procfs.BootID(); err == nil && boot != id.Boot {
		exit.Message = "ended when the machine was restarted"
	}
	if exit.OOM {
		exit.Signal, exit.Message = "SIGKILL", "ran out of memory while the driver was not running"
	}
	return exit
}

func outOfMemory(group cgroup.Group) bool {
	kills, err := group.OOMKills()
	return err == nil && kills > 0 // without the memory controller nobody counts
}

// roundDuration keeps three digits.
func roundDuration(d time.Duration) time.Duration {
	switch {
	case d < time.Second:
		return d.Round(time.Millisecond)
	case d < time.Minute:
		return d.Round(10 * time.Millisecond)
	}
	return d.Round(time.Second)
}

// signal sends a signal to every process of the instance.
func (i *instance) signal(sig syscall.Signal) error {
	members, err := i.members()
	if err != nil {
		return err
	}
	for _, pid := range members {
		if err := i.signalMember(pid, sig); err != nil {
			return err
		}
	}
	return nil
}
