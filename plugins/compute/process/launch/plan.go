// Package launch starts workloads so that each is started at most once, whatever crashes in between.
//
// The driver does not start a workload itself: it starts a copy of its own binary, the stage, which takes
// the instance's lock, writes down durably which process it is, confines itself, and then becomes the
// workload by exec. From the moment the marker is on the disk the instance counts as started for ever. So
// there is no instant at which a crash of the driver, of the stage or of the machine leaves it unknown
// whether the workload may run: no marker means that it has not run, and a marker names the one process
// that was allowed to.
package launch

import (
	"encoding/json"
	"fmt"
	"os"

	"github.com/instarhq/instar/plugins/compute/process/procfs"
)

// The files of an instance's directory that this package reads or writes.
const (
	PlanFile   = "instance.json" // its "plan" is read; the driver writes the rest
	MarkerFile = "started.json"
	lockFile   = "lock"
)

// Plan is everything that the stage needs. It is part of the instance's record, so that it is fixed before
// the first try.
type Plan struct {
	Path string   `json:"path"` // of the program, absolute
	Args []string `json:"args"` // with the program's name as first
	Env  []string `json:"env"`
	Dir  string   `json:"dir"` // working directory
	// UID and GID are what the workload runs as; nil: as the driver.
	UID *int `json:"uid,omitempty"`
	GID *int `json:"gid,omitempty"`
	// Group is the cgroup.procs file of the control group to enter, or empty.
	Group string `json:"group,omitempty"`
	// View limits what the workload sees of the driver's state; nil: everything that its user may.
	View *View `json:"view,omitempty"`
	// Stdout and Stderr are the files that take the output.
	Stdout string `json:"stdout"`
	Stderr string `json:"stderr"`
}

// View replaces a directory, in the workload's own mount namespace, by an empty one in which only the
// given paths below it are visible, at the same places. So every path means the same inside and outside,
// directories above that the workload's user may not enter do not matter, and the state of the driver and
// of other instances is out of reach.
type View struct {
	Hide     string   `json:"hide"`
	Writable []string `json:"writable"`
	ReadOnly []string `json:"read_only"`
}

// Started reads an instance's marker: the process that the instance was, or is. ok is false if the
// instance was never started.
func Started(dir string) (id procfs.Identity, ok bool, err error) {
	data, err := os.ReadFile(dir + "/" + MarkerFile)
	if os.IsNotExist(err) {
		return procfs.Identity{}, false, nil
	}
	if err != nil {
		return procfs.Identity{}, false, err
	}
	if err := json.Unmarshal(data, &id); err != nil {
		return procfs.Identity{}, false, fmt.Errorf("%s/%s is damaged: %w", dir, MarkerFile, err)
	}
	return id, true, nil
}
