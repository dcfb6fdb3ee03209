package procfs

import (
	"bytes"
	"errors"
	"os"
	"strconv"
	"syscall"
)

// All calls visit for every process of the machine that can be read; processes that end meanwhile are
// left out.
func All(visit func(Stat)) error {
	dir, err := os.Open("/proc")
	if err != nil {
		return err
	}
	defer func() { _ = dir.Close() }()
	names, err := dir.Readdirnames(-1)
	if err != nil {
		return err
	}
	for _, name := range names {
		pid, err := strconv.Atoi(name)
		if err != nil {
			continue
		}
		stat, err := ReadStat(pid)
		if errors.Is(err, os.ErrNotExist) {
			continue
		}
		if err != nil {
			return err
		}
		visit(stat)
	}
	return nil
}

// HasEnv reports whether the process was started with the given NAME=value in its environment. It is
// false for processes whose environment the caller may not read.
func HasEnv(pid int, entry string) bool {
	data, err := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/environ")
	if err != nil {
		return false
	}
	for line := range bytes.SplitSeq(data, []byte{0}) {
		if string(line) == entry {
			return true
		}
	}
	return false
}

// Environ reads the environment that the process was started with. It is empty for one that the caller may
// not read, and for a program that has used the room for something else, as nginx does.
func Environ(pid int) map[string]string {
	data, err := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/environ")
	if err != nil {
		return nil
	}
	return ParseEnviron(data)
}

// ParseEnviron splits NAME=value entries that end, or are separated, by zero bytes.
func ParseEnviron(data []byte) map[string]string {
	env := map[string]string{}
	for line := range bytes.SplitSeq(data, []byte{0}) {
		if name, value, ok := bytes.Cut(line, []byte("=")); ok {
			env[string(name)] = string(value)
		}
	}
	return env
}

// UID returns the user that owns the process.
func UID(pid int) (int, error) {
	info, err := os.Stat("/proc/" + strconv.Itoa(pid))
	if err != nil {
		return 0, err
	}
	// Of a process that is not dumpable /proc shows root; such a one is nobody's instance.
	return int(info.Sys().(*syscall.Stat_t).Uid), nil
}
