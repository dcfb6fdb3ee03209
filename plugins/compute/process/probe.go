package process

import (
	"context"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"github.com/instarhq/instar/sdk"
)

const (
	// probeEvery is how often the target is looked at.
	probeEvery = 10 * time.Second
	// minFree is how much room the state directory's file system must have for new instances.
	minFree = 64 << 20
)

// Probe implements sdk.Driver.
func (d *Driver) Probe(ctx context.Context, report func(sdk.Health) error) error {
	t, err := d.bound()
	if err != nil {
		return err
	}
	ticker := time.NewTicker(probeEvery)
	defer ticker.Stop()
	var last sdk.Health
	for first := true; ; first = false {
		now := t.health()
		if first || !same(last, now) {
			if err := report(now); err != nil {
				return err
			}
			last = now
		}
		select {
		case <-ctx.Done():
			return context.Cause(ctx)
		case <-t.life.Done():
			return context.Cause(t.life)
		case <-ticker.C:
		}
	}
}

func same(a, b sdk.Health) bool {
	return a.Healthy == b.Healthy && a.Reason == b.Reason && a.Capacity == b.Capacity && maps.Equal(a.Attributes, b.Attributes)
}

// health looks at the machine and the state directory.
func (t *target) health() sdk.Health {
	h := sdk.Health{
		Healthy:  true,
		Capacity: sdk.Resources{CPU: int64(runtime.NumCPU()) * 1000, Memory: totalMemory()},
		Attributes: map[string]string{
			"kernel": kernel(), "cgroup": t.groups.String(), "user": t.userAttribute(), "isolation": "mount namespace for each instance",
			"port_range": t.settings().PortRange.String(),
		},
	}
	if !t.view.ok() {
		h.Attributes["isolation"] = "file permissions only: " + t.view.reason
	}
	if both, overlap := t.settings().PortRange.Overlap(); overlap {
		h.Attributes["port_range"] += fmt.Sprintf("; %s is also used for outgoing connections (net.ipv4.ip_local_port_range), which may take an instance's port", both)
	}
	if reason := t.unusable(&h); reason != "" {
		h.Healthy, h.Reason = false, reason
	}
	return h
}

// unusable says why no instance can be created now, and notes the free space.
func (t *target) unusable(h *sdk.Health) string {
	var st unix.Statfs_t
	if err := unix.Statfs(t.dir, &st); err != nil {
		return fmt.Sprintf("the state directory %s cannot be read: %v", t.dir, err)
	}
	blocks := st.Bavail
	if os.Geteuid() == 0 {
		blocks = st.Bfree
	}
	free := int64(blocks) * int64(st.Bsize) //nolint:unconvert // its type differs between architectures
	h.Attributes["disk_free"] = roughly(free)
	switch {
	case st.Flags&unix.ST_RDONLY != 0:
		return fmt.Sprintf("the file system of %s is read-only", t.dir)
	case free < minFree:
		return fmt.Sprintf("the file system of %s is full: %s are free", t.dir, roughly(free))
	case st.Files > 0 && st.Ffree < 100:
		return fmt.Sprintf("the file system of %s has no inodes left", t.dir)
	}
	if err := tryWrite(t.dir); err != nil {
		return fmt.Sprintf("the state directory cannot be written to: %v", err)
	}
	if os.Geteuid() == 0 {
		uid, gid := t.settings().UIDRange.first, t.settings().UIDRange.first
		if _, err := t.planView(&uid, &gid, "", ""); err != nil && t.settings().User == "" {
			return err.Error()
		}
	}
	return ""
}

// tryWrite makes and removes a file, without waiting for the disk.
func tryWrite(dir string) error {
	path := filepath.Join(dir, ".probe")
	if err := os.WriteFile(path, []byte("probe\n"), 0o600); err != nil {
		return err
	}
	return os.Remove(path)
}

func (t *target) userAttribute() string {
	cfg := t.settings()
	switch {
	case os.Geteuid() != 0:
		return "the driver's own (" + strconv.Itoa(os.Geteuid()) + "): the driver is not root"
	case cfg.User != "":
		return cfg.User
	}
	return fmt.Sprintf("one of %d-%d for each instance", cfg.UIDRange.first, cfg.UIDRange.last)
}

// roughly prints bytes with two digits, so that not every log line makes a new report.
func roughly(n int64) string {
	n, unit := n>>20, "MiB"
	if n >= 10<<10 {
		n, unit = n>>10, "GiB"
	}
	step := int64(1)
	for n/step >= 100 {
		step *= 10
	}
	return fmt.Sprintf("%d %s", n/step*step, unit)
}

func kernel() string {
	var u unix.Utsname
	if err := unix.Uname(&u); err != nil {
		return "unknown: " + err.Error()
	}
	return unix.ByteSliceToString(u.Sysname[:]) + " " + unix.ByteSliceToString(u.Release[:])
}

// totalMemory is the machine's memory in bytes, 0 if it cannot be read.
func totalMemory() int64 {
	data, err := os.ReadFile("/proc/meminfo")
	if err != nil {
		return 0
	}
	for line := range strings.Lines(string(data)) {
		if value, ok := strings.CutPrefix(line, "MemTotal:"); ok {
			kib, err := strconv.ParseInt(strings.TrimSpace(strings.TrimSuffix(strings.TrimSpace(value), "kB")), 10, 64)
			if err != nil {
				return 0
			}
			return kib << 10
		}
	}
	return 0
}
