package installed

import (
	"errors"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/instarhq/instar/core"
	"github.com/instarhq/instar/core/driverhost/lockfile"
)

// State says how a binary and its entry in the lock file go together.
type State string

// The states of a driver.
const (
	Matches  State = "ok"       // the file is what was accepted
	Changed  State = "changed"  // the file is another one: it is not launched
	Missing  State = "missing"  // there is an entry and no file
	Unlocked State = "unlocked" // there is a file and no entry: it is not launched
)

// Driver is a binary of this machine, or an entry of the lock file.
type Driver struct {
	File      string          `json:"file"` // instar-compute-example
	Kind      core.DriverKind `json:"kind"`
	Name      string          `json:"name"`
	Version   string          `json:"version,omitempty"`  // empty if nobody has asked it
	Protocol  int             `json:"protocol,omitempty"` // 0 if nobody has asked it
	SHA256    string          `json:"sha256,omitempty"`   // that is accepted
	Found     string          `json:"found,omitempty"`    // that the file has, if it is another one
	State     State           `json:"state"`
	Path      string          `json:"path,omitempty"`
	Size      int64           `json:"size,omitempty"`
	Origin    string          `json:"origin,omitempty"` // empty: not from instar driver install
	Installed time.Time       `json:"installed,omitzero"`
	Targets   []string        `json:"targets"`   // configured on this node
	Instances []string        `json:"instances"` // on this node
	Asked     bool            `json:"asked"`     // the daemon was asked what is in use
}

// List lists what the lock file and the driver directories have, sorted by the file's name.
func (m Machine) List(u Use) ([]Driver, error) {
	if err := m.check(); err != nil {
		return nil, err
	}
	content, err := m.lock().Read()
	if err != nil {
		return nil, err
	}
	paths, err := m.scan()
	if err != nil {
		return nil, err
	}
	for i := range u.Drivers { // those beside instard are where only it knows
		d := &u.Drivers[i].Driver
		if name := "instar-" + string(d.Kind) + "-" + d.Name; paths[name] == "" && d.Path != "" {
			paths[name] = d.Path
		}
	}
	for name, i := range content.Installed {
		if paths[name] == "" || exists(i.Path) {
			paths[name] = i.Path
		}
	}
	names := slices.Collect(maps.Keys(paths))
	for name := range content.Drivers {
		if _, ok := paths[name]; !ok {
			names = append(names, name)
		}
	}
	slices.Sort(names)
	drivers := []Driver{}
	for _, name := range names {
		d, err := describeEntry(name, paths[name], content, u)
		if err != nil {
			return nil, err
		}
		drivers = append(drivers, d)
	}
	return drivers, nil
}

// scan finds the binaries in the driver directories; the first of a name counts.
func (m Machine) scan() (map[string]string, error) {
	paths := map[string]string{}
	for _, dir := range m.dirs() {
		entries, err := os.ReadDir(dir)
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			return nil, err
		}
		for _, e := range entries {
			if _, _, ok := parse(e.Name()); ok && paths[e.Name()] == "" {
				paths[e.Name()] = filepath.Join(dir, e.Name())
			}
		}
	}
	return paths, nil
}

// parse reads instar-KIND-NAME.
func parse(file string) (core.DriverKind, string, bool) {
	for _, kind := range []core.DriverKind{core.DriverCompute, core.DriverTraffic, core.DriverMetrics} {
		if name, ok := strings.CutPrefix(file, "instar-"+string(kind)+"-"); ok && core.CheckName("driver", name) == nil {
			return kind, name, true
		}
	}
	return "", "", false
}

func describeEntry(file, path string, content lockfile.Content, u Use) (Driver, error) {
	d := Driver{File: file, Path: path, Asked: u.Asked, SHA256: strings.TrimPrefix(content.Drivers[file], "sha256:")}
	d.Kind, d.Name, _ = parse(file)
	if i, ok := content.Installed[file]; ok {
		d.Version, d.Protocol, d.Origin, d.Size, d.Installed = i.Version, i.Protocol, i.Origin, i.Size, i.At
	}
	for n := range u.Drivers { // what runs may be an older one, but it is what answers
		if live := &u.Drivers[n].Driver; live.Kind == d.Kind && live.Name == d.Name && (d.Version == "" || live.SHA256 == d.SHA256) {
			d.Version, d.Protocol = live.Version, live.Protocol
		}
	}
	d.Targets, d.Instances = u.targets(d.Kind, d.Name), u.instances(d.Kind, d.Name)
	if path == "" {
		d.State = Missing
		return d, nil
	}
	found, err := lockfile.Digest(path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		d.State = Missing
		return d, nil
	case err != nil:
		return d, err
	case d.SHA256 == "":
		d.State, d.Found = Unlocked, strings.TrimPrefix(string(found), "sha256:")
	case string(found) == "sha256:"+d.SHA256:
		d.State = Matches
	default:
		d.State, d.Found = Changed, strings.TrimPrefix(string(found), "sha256:")
	}
	return d, nil
}

func exists(path string) bool {
	_, err := os.Lstat(path)
	return err == nil
}
