// Package procfs reads what the kernel says of processes, and identifies them in a way that survives the
// reuse of process numbers.
package procfs

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"strconv"
	"strings"
	"sync"
	"time"
)

// ticksPerSecond is USER_HZ, which is 100 on every architecture that Go runs Linux on.
const ticksPerSecond = 100

// Stat is the part of /proc/PID/stat (proc_pid_stat(5)) that the driver needs.
type Stat struct {
	PID     int
	State   byte // 'Z' is a zombie
	PPID    int
	Group   int
	Session int
	CPU     time.Duration // user and system time of the process and of children it has waited for
	Start   uint64        // clock ticks after boot at which it started
	RSS     int64         // bytes
}

// ReadStat reads one process. A process that is not there is an error for which errors.Is(err,
// os.ErrNotExist) holds.
func ReadStat(pid int) (Stat, error) {
	data, err := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/stat")
	if err != nil {
		if isGone(err) {
			return Stat{}, fmt.Errorf("process %d: %w", pid, os.ErrNotExist)
		}
		return Stat{}, err
	}
	return parseStat(data)
}

func parseStat(data []byte) (Stat, error) {
	// The command name is in parentheses and may hold anything, also spaces and parentheses.
	open, end := bytes.IndexByte(data, '('), bytes.LastIndexByte(data, ')')
	if open < 1 || end < open {
		return Stat{}, fmt.Errorf("stat line %q has no command name", data)
	}
	pid, err := strconv.Atoi(strings.TrimSpace(string(data[:open])))
	if err != nil {
		return Stat{}, fmt.Errorf("stat line %q: %w", data, err)
	}
	f := strings.Fields(string(data[end+1:])) // f[0] is field 3 of the manual page
	if len(f) < 22 {
		return Stat{}, fmt.Errorf("stat line %q is too short", data)
	}
	n := func(field int) int64 {
		v, convErr := strconv.ParseInt(f[field-3], 10, 64)
		err = errors.Join(err, convErr)
		return v
	}
	s := Stat{
		PID: pid, State: f[0][0], PPID: int(n(4)), Group: int(n(5)), Session: int(n(6)),
		CPU:   time.Duration(n(14)+n(15)+n(16)+n(17)) * time.Second / ticksPerSecond,
		Start: uint64(n(22)), RSS: n(24) * int64(os.Getpagesize()),
	}
	if err != nil {
		return Stat{}, fmt.Errorf("stat line %q: %w", data, err)
	}
	return s, nil
}

// BootID names the current boot of the machine: process numbers and start times of another boot mean
// nothing.
var BootID = sync.OnceValues(func() (string, error) {
	data, err := os.ReadFile("/proc/sys/kernel/random/boot_id")
	if err != nil {
		return "", fmt.Errorf("read the boot id: %w", err)
	}
	return strings.TrimSpace(string(data)), nil
})
