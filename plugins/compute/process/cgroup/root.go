// Package cgroup gives every instance a control group (cgroup v2) of its own: to limit it, to count what
// it uses, and to find every process that it ever started. Where the machine does not offer that, or only
// part of it, the package says what is missing and why, and its callers do without.
package cgroup

import (
	"bufio"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

// parent is the group, common to all targets, below which the groups of each target are. It is not below
// the daemon's own group, because instances outlive the daemon's service.
const parent = "instar"

// Root is the group of one target; the groups of its instances are below it.
type Root struct {
	dir     string   // empty: there are no groups here
	missing []string // controllers that cannot be used
	reason  string   // why dir is empty or controllers are missing
}

// controllers are what limits need.
var controllers = []string{"cpu", "memory"}

// Open finds or makes the group with the given name. It never fails: a machine without control groups
// gives a Root without Available.
func Open(name string) *Root {
	mount, own, err := locate("/proc/self/mountinfo", "/proc/self/cgroup")
	if err != nil {
		return &Root{missing: controllers, reason: err.Error()}
	}
	var failed []error
	// The top is where an administrator's daemon puts its groups; an unprivileged daemon may only have
	// been given the group that it is in.
	for _, base := range slices.Compact([]string{mount, filepath.Join(mount, own)}) {
		r, err := openAt(base, name)
		if err == nil {
			return r
		}
		failed = append(failed, err)
	}
	return &Root{missing: controllers, reason: errors.Join(failed...).Error()}
}

func openAt(base, name string) (*Root, error) {
	r := &Root{dir: filepath.Join(base, parent, name)}
	if err := os.MkdirAll(r.dir, 0o755); err != nil {
		return nil, err
	}
	// Proof that processes can be put there, without moving one: the file must be writable.
	procs, err := os.OpenFile(filepath.Join(r.dir, "cgroup.procs"), os.O_WRONLY, 0)
	if err != nil {
		return nil, err
	}
	if err := procs.Close(); err != nil {
		return nil, err
	}
	for _, c := range controllers {
		if err := r.enable(base, c); err != nil {
			r.missing = append(r.missing, c)
			r.reason = err.Error()
		}
	}
	return r, nil
}

// enable makes a controller usable in the groups below r.
func (r *Root) enable(base, controller string) error {
	for _, dir := range []string{base, filepath.Dir(r.dir), r.dir} {
		available, err := os.ReadFile(filepath.Join(dir, "cgroup.controllers"))
		if err != nil {
			return err
		}
		if !slices.Contains(strings.Fields(string(available)), controller) {
			return fmt.Errorf("the kernel does not offer the %s controller at %s", controller, dir)
		}
		control := filepath.Join(dir, "cgroup.subtree_control")
		if err := set(control, "+"+controller); err != nil {
			return fmt.Errorf("enable the %s controller: %w", controller, err)
		}
	}
	return nil
}

// Available reports whether instances get groups at all.
func (r *Root) Available() bool { return r.dir != "" }

// Has reports whether the groups have a controller, "cpu" or "memory".
func (r *Root) Has(controller string) bool { return !slices.Contains(r.missing, controller) }

// String says what there is, for a person.
func (r *Root) String() string {
	switch {
	case r.dir == "":
		return "no: " + r.reason
	case len(r.missing) > 0:
		return "groups without " + strings.Join(r.missing, " and ") + " limits: " + r.reason
	}
	return "yes, with cpu and memory limits, at " + r.dir
}

// Group returns the group of an instance, which need not exist. Without Available it is the zero Group.
func (r *Root) Group(id string) Group {
	if r.dir == "" {
		return Group{}
	}
	return Group{dir: filepath.Join(r.dir, id)}
}

// Sweep removes groups that are empty and whose instance is not known.
func (r *Root) Sweep(known func(id string) bool) error {
	if r.dir == "" {
		return nil
	}
	entries, err := os.ReadDir(r.dir)
	if err != nil {
		return err
	}
	var errs []error
	for _, entry := range entries {
		if entry.IsDir() && !known(entry.Name()) {
			errs = append(errs, os.Remove(filepath.Join(r.dir, entry.Name())))
		}
	}
	return errors.Join(errs...)
}

// Populated gives the processes in the groups of instances, with the instance's id.
func (r *Root) Populated() (map[int]string, error) {
	if r.dir == "" {
		return nil, nil
	}
	entries, err := os.ReadDir(r.dir)
	if err != nil {
		return nil, err
	}
	ids := map[int]string{}
	for _, entry := range entries {
		if !entry.IsDir() {
			continue
		}
		pids, err := r.Group(entry.Name()).Processes()
		if err != nil {
			return nil, err
		}
		for _, pid := range pids {
			ids[pid] = entry.Name()
		}
	}
	return ids, nil
}

// Close removes the target's group if no instance has one any more.
func (r *Root) Close() {
	if r.dir != "" {
		_ = os.Remove(r.dir) // refused while there are groups in it
	}
}

// locate finds where cgroup v2 is mounted and which group the process is in.
func locate(mountinfo, membership string) (mount, own string, err error) {
	if mount, err = findMount(mountinfo); err != nil {
		return "", "", err
	}
	data, err := os.ReadFile(membership)
	if err != nil {
		return "", "", err
	}
	for line := range strings.Lines(string(data)) {
		if path, ok := strings.CutPrefix(strings.TrimSpace(line), "0::"); ok {
			return mount, path, nil
		}
	}
	return "", "", fmt.Errorf("%s names no cgroup v2 group", membership)
}

func findMount(mountinfo string) (string, error) {
	f, err := os.Open(mountinfo)
	if err != nil {
		return "", err
	}
	defer func() { _ = f.Close() }()
	lines := bufio.NewScanner(f)
	for lines.Scan() {
		before, after, ok := strings.Cut(lines.Text(), " - ")
		fields := strings.Fields(before)
		if ok && len(fields) > 4 && strings.HasPrefix(after, "cgroup2 ") {
			return unescape(fields[4]), nil
		}
	}
	if err := lines.Err(); err != nil {
		return "", err
	}
	return "", errors.New("cgroup v2 is not mounted")
}

// unescape undoes the octal escapes of mountinfo.
func unescape(s string) string {
	return strings.NewReplacer(`\040`, " ", `\011`, "\t", `\012`, "\n", `\134`, `\`).Replace(s)
}
