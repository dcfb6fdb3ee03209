// Package process reads from /proc what a process uses.
package process

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"
)

// clockTick is the unit of CPU times in /proc, which Linux has fixed at 100 Hz for every architecture that
// instar runs on (USER_HZ; see proc_pid_stat(5)).
const clockTick = 10 * time.Millisecond

// Usage is what a process uses.
type Usage struct {
	CPU time.Duration // user and system time since its start
	RSS int64         // bytes resident
}

// Read reads a process's usage.
func Read(pid int) (Usage, error) {
	data, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return Usage{}, err
	}
	// The second field is the program's name in brackets, which may hold anything.
	fields := strings.Fields(string(data[bytes.LastIndexByte(data, ')')+1:]))
	if len(fields) < 22 {
		return Usage{}, fmt.Errorf("/proc/%d/stat has %d fields", pid, len(fields)+2)
	}
	numbers := make([]int64, 0, 3)
	for _, i := range []int{11, 12, 21} { // utime, stime, rss: fields 14, 15 and 24
		n, err := strconv.ParseInt(fields[i], 10, 64)
		if err != nil {
			return Usage{}, fmt.Errorf("/proc/%d/stat: %w", pid, err)
		}
		numbers = append(numbers, n)
	}
	return Usage{CPU: time.Duration(numbers[0]+numbers[1]) * clockTick, RSS: numbers[2] * int64(os.Getpagesize())}, nil
}

// Of finds the processes that run the binary at path, which no other run of the benchmark has.
func Of(path string) ([]int, error) {
	links, err := filepath.Glob("/proc/[0-9]*/exe")
	if err != nil {
		return nil, err
	}
	var pids []int
	for _, link := range links {
		target, err := os.Readlink(link)
		if err != nil || target != path {
			continue // gone meanwhile, or another's
		}
		pid, err := strconv.Atoi(filepath.Base(filepath.Dir(link)))
		if err != nil {
			return nil, err
		}
		pids = append(pids, pid)
	}
	return pids, nil
}
