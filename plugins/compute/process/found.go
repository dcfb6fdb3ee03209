package process

import (
	"cmp"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"

	"github.com/instarhq/instar/plugins/compute/process/launch"
	"github.com/instarhq/instar/plugins/compute/process/logfile"
	"github.com/instarhq/instar/plugins/compute/process/procfs"
	"github.com/instarhq/instar/plugins/durable"
	"github.com/instarhq/instar/sdk"
)

// clue is a process that seems to be of an instance that the state directory does not know.
type clue struct {
	id     string
	stat   procfs.Stat
	uid    int
	sure   bool              // the kernel says so; the environment alone is what the process's parent says
	labels map[string]string // of its log file, or else its environment; empty if the program has overwritten that
}

// findLost looks for instances that run while their directories are gone, as a whole state directory can be
// lost, and gives each of them a record again. They can be listed, followed and destroyed like others, but
// what they were made from is lost: their fingerprint is sdk.FingerprintLost.
func (t *target) findLost(cluster string) error {
	clues, err := t.clues(cluster)
	if err != nil {
		return fmt.Errorf("look for instances whose records are lost: %w", err)
	}
	for _, c := range clues {
		if exists(t.instanceDir(c.id)) {
			continue // known, or recorded from a better clue
		}
		err := t.recordLost(c, cluster)
		if errors.Is(err, os.ErrNotExist) {
			continue // ended meanwhile
		}
		if err != nil {
			return fmt.Errorf("record the instance %s, which runs as process %d: %w", c.id, c.stat.PID, err)
		}
		t.logger.Warn("found an instance whose record is lost; it will be reported as such", "instance", c.id, "pid", c.stat.PID)
	}
	return nil
}

// clues are sorted so that the best one for an instance comes first: what the kernel vouches for, then the
// leader of the session, which the launcher began, then the oldest.
func (t *target) clues(cluster string) ([]clue, error) {
	var found []clue
	users := t.instanceUsers()
	groups, err := t.groups.Populated()
	if err != nil {
		return nil, err
	}
	err = procfs.All(func(s procfs.Stat) {
		uid, err := procfs.UID(s.PID)
		if err != nil || s.State == 'Z' || s.State == 'X' || s.PID == os.Getpid() || !users(uid) {
			return
		}
		if c, ok := t.clue(s, groups[s.PID], cluster); ok {
			c.stat, c.uid = s, uid
			found = append(found, c)
		}
	})
	slices.SortStableFunc(found, func(a, b clue) int {
		return cmp.Or(strings.Compare(a.id, b.id), -compareBool(a.sure, b.sure), -compareBool(a.leads(), b.leads()), cmp.Compare(a.stat.Start, b.stat.Start))
	})
	return found, err
}

func (c clue) leads() bool { return c.stat.Session == c.stat.PID }

func compareBool(a, b bool) int {
	switch {
	case a == b:
		return 0
	case a:
		return 1
	}
	return -1
}

// clue judges one process. A file that it writes its output to, or its control group, are proof; a file
// that still has its name is of somebody else's state directory, at the same path in a container. Its
// environment is what whoever started it says, and counts for less.
func (t *target) clue(s procfs.Stat, group, cluster string) (clue, bool) {
	owner, file, theirs := t.outputOf(s.PID)
	if theirs {
		return clue{}, false
	}
	labels := labelsOf(s.PID, file)
	switch {
	case owner != "":
		return clue{id: owner, sure: true, labels: labels}, true
	case group != "" && checkID(group) == nil:
		return clue{id: group, sure: true, labels: labels}, true
	}
	id := labels["INSTAR_INSTANCE"]
	if checkID(id) != nil || labels["INSTAR_CLUSTER"] != cluster || labels["INSTAR_DIR"] != rootIn(t.instanceDir(id)) {
		return clue{}, false
	}
	return clue{id: id, labels: labels}, true
}

// outputOf names the instance whose log file is the process's standard output or error. Only the launcher
// can have opened that: the file belongs to the driver, in its directories, on its file system. file is a
// path to it.
func (t *target) outputOf(pid int) (id, file string, theirs bool) {
	var own syscall.Stat_t
	if syscall.Stat(t.dir, &own) != nil {
		return "", "", false
	}
	for fd, name := range map[int]string{1: logfile.Stdout, 2: logfile.Stderr} {
		link := fmt.Sprintf("/proc/%d/fd/%d", pid, fd)
		path, err := os.Readlink(link)
		if err != nil {
			continue
		}
		inside, ok := strings.CutPrefix(strings.TrimSuffix(path, " (deleted)"), filepath.Join(t.dir, "instances")+"/")
		if !ok {
			continue
		}
		candidate, rest, _ := strings.Cut(inside, "/")
		var st syscall.Stat_t
		if rest != logfile.Folder+"/"+name || checkID(candidate) != nil || syscall.Stat(link, &st) != nil {
			continue
		}
		if st.Dev != own.Dev || int(st.Uid) != os.Geteuid() || st.Nlink > 0 {
			return "", "", true
		}
		return candidate, link, false
	}
	return "", "", false
}

// instanceUsers tells which users instances of this target run as. A process of anybody else is no instance,
// whatever it says.
func (t *target) instanceUsers() func(uid int) bool {
	if os.Geteuid() != 0 {
		return func(uid int) bool { return uid == os.Geteuid() }
	}
	cfg := t.settings()
	named := map[int]bool{}
	for _, name := range append([]string{cfg.User}, cfg.AllowedUsers...) {
		if uid, _, err := lookUp(name); name != "" && err == nil {
			named[uid] = true
		}
	}
	return func(uid int) bool { return named[uid] || uid >= cfg.UIDRange.first && uid <= cfg.UIDRange.last }
}

// recordLost makes the directory of an instance of which nothing but processes is left.
func (t *target) recordLost(c clue, cluster string) error {
	id, err := procfs.Identify(c.stat.PID)
	if err != nil {
		return err
	}
	tmp := t.instanceDir(newPrefix + c.id)
	if err := durable.RemoveTree(tmp); err != nil {
		return err
	}
	for _, dir := range []string{tmp, filepath.Join(tmp, logfile.Folder), rootIn(tmp)} {
		if err := makeDir(dir, 0o711); err != nil {
			return err
		}
	}
	if err := durable.WriteJSON(filepath.Join(tmp, launch.MarkerFile), id); err != nil {
		return err
	}
	if err := durable.WriteJSON(filepath.Join(tmp, launch.PlanFile), t.lostRecord(c, cluster)); err != nil {
		return err
	}
	return durable.Rename(tmp, t.instanceDir(c.id))
}

// lostRecord is what can still be said of an instance.
func (t *target) lostRecord(c clue, cluster string) record {
	rec := record{
		Format: recordFormat, ID: c.id, Cluster: cluster, Service: c.labels["INSTAR_SERVICE"], RevisionDigest: c.labels["INSTAR_REVISION_DIGEST"],
		Address: string(t.settings().Address), StopSignal: int(syscall.SIGTERM), LogBytes: minLogBytes, Found: true, Ports: map[string]int{},
	}
	if c.labels["INSTAR_INSTANCE"] == c.id && c.labels["INSTAR_CLUSTER"] != "" {
		rec.Cluster = c.labels["INSTAR_CLUSTER"]
	}
	// What does not read as a number stays 0.
	rec.Generation, _ = strconv.ParseUint(c.labels["INSTAR_GENERATION"], 10, 64)
	rec.Revision, _ = strconv.Atoi(c.labels["INSTAR_REVISION"])
	for name, value := range c.labels {
		port, ok := strings.CutPrefix(name, "INSTAR_PORT_")
		if number, err := strconv.ParseUint(value, 10, 16); ok && err == nil {
			rec.Ports[strings.ToLower(strings.ReplaceAll(port, "_", "-"))] = int(number)
		}
	}
	if info, err := os.Stat("/proc/" + strconv.Itoa(c.stat.PID)); err == nil {
		rec.Created = info.ModTime().UTC()
	}
	if os.Geteuid() == 0 {
		rec.Plan.UID, rec.Plan.GID = &c.uid, &c.uid
		within := t.settings().UIDRange
		rec.OwnUser = c.uid >= within.first && c.uid <= within.last
	}
	return rec
}

// errLost answers a Create for an instance of which only the process is left.
func errLost(id string) error {
	return sdk.Conflict("instance %s runs, but what it was made from was lost with the driver's state: it can only be destroyed", id)
}
