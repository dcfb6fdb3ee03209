package process

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strconv"
	"syscall"
	"time"

	"github.com/instarhq/instar/plugins/compute/process/procfs"
)

// killFor bounds how long processes may take to go after SIGKILL: one that hangs in the kernel is
// reported, not waited for for ever.
const killFor = 10 * time.Second

// members returns the processes of the instance: those in its control group. Without groups they are
// looked for in the process table: by session and process group, by a user that is the instance's alone,
// and by the instance's id in their environment, which children inherit.
func (i *instance) members() ([]int, error) {
	if i.group.Exists() {
		return i.group.Processes()
	}
	var found []int
	err := procfs.All(func(s procfs.Stat) {
		if s.State != 'Z' && s.State != 'X' && i.owns(s) {
			found = append(found, s.PID)
		}
	})
	if err != nil {
		return nil, fmt.Errorf("look for the processes of instance %s: %w", i.rec.ID, err)
	}
	return found, nil
}

// owns reports whether a process is the instance's, by the process table.
func (i *instance) owns(s procfs.Stat) bool {
	i.mu.Lock()
	main := i.id
	i.mu.Unlock()
	if boot, err := procfs.BootID(); err != nil || main.PID == 0 || boot != main.Boot || s.Start < main.Start {
		return false // nothing that is older, or of another boot, can be a descendant
	}
	if s.PID == main.PID {
		return s.Start == main.Start
	}
	uid, err := procfs.UID(s.PID)
	if err != nil {
		return false
	}
	if i.rec.OwnUser {
		return uid == *i.rec.Plan.UID
	}
	want := os.Geteuid()
	if i.rec.Plan.UID != nil {
		want = *i.rec.Plan.UID
	}
	if uid != want {
		return false
	}
	if (s.Session == main.PID || s.Group == main.PID) && numberIsOurs(main) {
		return true
	}
	return procfs.HasEnv(s.PID, "INSTAR_INSTANCE="+i.rec.ID) && procfs.HasEnv(s.PID, "INSTAR_CLUSTER="+i.rec.Cluster)
}

// numberIsOurs reports whether no other process has the number of the instance's main process. The kernel
// does not give a number away while a session or a process group is named by it.
func numberIsOurs(main procfs.Identity) bool {
	s, err := procfs.ReadStat(main.PID)
	if errors.Is(err, os.ErrNotExist) {
		return true
	}
	return err == nil && s.Start == main.Start
}

// signalMember signals one process, after making sure that the number still belongs to the instance.
func (i *instance) signalMember(pid int, sig syscall.Signal) error {
	id, err := procfs.Identify(pid)
	if errors.Is(err, os.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	handle, err := id.Open()
	if errors.Is(err, os.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	defer func() { _ = handle.Close() }()
	if !i.isMember(pid) {
		return nil
	}
	return handle.Signal(sig)
}

func (i *instance) isMember(pid int) bool {
	if i.group.Exists() {
		return i.group.Contains(pid)
	}
	s, err := procfs.ReadStat(pid)
	return err == nil && i.owns(s)
}

// killRest sends SIGKILL to whatever there is of the instance, and does not wait.
func (i *instance) killRest() error {
	if i.group.Exists() {
		err := i.group.Kill()
		if !errors.Is(err, os.ErrNotExist) {
			return err
		}
	}
	return i.signal(syscall.SIGKILL)
}

// killAll ends every process of the instance, also those that fork while it tries.
func (i *instance) killAll(ctx context.Context) error {
	deadline := time.Now().Add(killFor)
	for wait := 2 * time.Millisecond; ; wait = min(2*wait, 100*time.Millisecond) {
		if err := i.killRest(); err != nil {
			return fmt.Errorf("kill instance %s: %w", i.rec.ID, err)
		}
		left, err := i.members()
		if err != nil || len(left) == 0 {
			return err
		}
		if time.Now().After(deadline) {
			return fmt.Errorf("instance %s: process %s does not go after SIGKILL; it hangs in the kernel (see /proc/%s/wchan)",
				i.rec.ID, strconv.Itoa(left[0]), strconv.Itoa(left[0]))
		}
		if err := pause(ctx, wait); err != nil {
			return err
		}
	}
}

// pause waits, or returns why ctx has ended.
func pause(ctx context.Context, d time.Duration) error {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return context.Cause(ctx)
	case <-timer.C:
		return nil
	}
}
