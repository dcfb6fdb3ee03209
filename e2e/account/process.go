package main

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"time"

	"github.com/instarhq/instar/sdk"
)

// listenPort is the port of every instance; each has an address of its own, so that nothing else takes it.
const listenPort = 7081

// addressOf gives an instance an address in 127.64.0.0/10.
func addressOf(id string) string {
	sum := sha256.Sum256([]byte(id))
	return fmt.Sprintf("127.%d.%d.%d:%d", 64+sum[0]%64, sum[1], 1+sum[2]%254, listenPort)
}

// start runs the process of an instance in a session of its own: it outlives the driver.
func (b backend) start(spec *sdk.InstanceSpec, address string) (pid int, err error) {
	var work struct {
		Command []string `json:"command"`
	}
	if err := sdk.Decode(workloadSchema, spec.Config, &work); err != nil {
		return 0, err
	}
	if len(work.Command) == 0 {
		return 0, sdk.InvalidConfig("command", "it names no program")
	}
	life, err := os.OpenFile(b.path(spec.ID+".lives"), os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return 0, err
	}
	defer func() { _ = life.Close() }() // the process has its own, and with it the lock
	if err := syscall.Flock(int(life.Fd()), syscall.LOCK_EX|syscall.LOCK_NB); err != nil {
		return 0, err
	}
	cmd := exec.Command(work.Command[0], append(work.Command[1:], address)...)
	cmd.Env = []string{"PATH=" + os.Getenv("PATH"), "INSTAR_INSTANCE=" + spec.ID, "INSTAR_SERVICE=" + spec.Service, fmt.Sprint("INSTAR_REVISION=", spec.Revision)}
	for name, value := range spec.Env {
		cmd.Env = append(cmd.Env, name+"="+value)
	}
	cmd.ExtraFiles = []*os.File{life}
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	if err := cmd.Start(); err != nil {
		return 0, err
	}
	go func() { _ = cmd.Wait() }() // how it ended is not kept
	return cmd.Process.Pid, nil
}

// lives reports whether the process of an instance holds its lock.
func (b backend) lives(id string) (bool, error) {
	life, err := os.Open(b.path(id + ".lives"))
	if errors.Is(err, fs.ErrNotExist) {
		return false, nil
	}
	if err != nil {
		return false, err
	}
	defer func() { _ = life.Close() }() // which unlocks it
	err = syscall.Flock(int(life.Fd()), syscall.LOCK_SH|syscall.LOCK_NB)
	if errors.Is(err, syscall.EWOULDBLOCK) {
		return true, nil
	}
	return false, err
}

// end asks the process of an instance to end, and kills it after the grace period.
func (b backend) end(ctx context.Context, r *record, grace time.Duration) error {
	kill := time.Now().Add(grace)
	for sent := syscall.Signal(0); ; {
		lives, err := b.lives(r.Spec.ID)
		if err != nil || !lives {
			return err
		}
		next := syscall.SIGTERM
		if time.Now().After(kill) {
			next = syscall.SIGKILL
		}
		if next != sent {
			if err := syscall.Kill(r.Pid, next); err != nil && !errors.Is(err, syscall.ESRCH) {
				return err
			}
			sent = next
		}
		if err := pause(ctx); err != nil {
			return err
		}
	}
}

// pause waits for a moment.
func pause(ctx context.Context) error {
	timer := time.NewTimer(20 * time.Millisecond)
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-timer.C:
		return nil
	}
}

// fits reports whether an id can be a file's name.
func fits(id string) bool {
	return id != "" && !strings.HasPrefix(id, ".") && !strings.ContainsAny(id, "/\x00")
}
