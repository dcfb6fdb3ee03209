package installed

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/instarhq/instar/core"
	"github.com/instarhq/instar/core/driverhost/lockfile"
)

// Machine says where the node of this machine keeps its drivers.
type Machine struct {
	DataDir string
	Dir     string   // where drivers are installed; empty: PluginDirs[0], or DataDir/plugins
	Plugins []string // the plugin directories of the configuration
	Address string   // of the node's API, for messages
}

// check refuses a data directory that is none: a lock file there would help nobody.
func (m Machine) check() error {
	info, err := os.Stat(m.DataDir)
	if err == nil && !info.IsDir() {
		err = fmt.Errorf("%s is no directory", m.DataDir)
	}
	if err != nil {
		return core.Errorf(core.CodeInvalid, "data directory: %w", err).
			WithHint("say where instard keeps its data: -config FILE or -data-dir DIR; instard makes it at its first start")
	}
	return nil
}

func (m Machine) lock() *lockfile.File { return lockfile.Open(filepath.Join(m.DataDir, lockfile.Name)) }

// dir is where drivers are installed.
func (m Machine) dir() (string, error) {
	dir := m.Dir
	if dir == "" && len(m.Plugins) > 0 {
		dir = m.Plugins[0]
	}
	if dir == "" {
		dir = filepath.Join(m.DataDir, lockfile.PluginDir)
	}
	return filepath.Abs(dir)
}

// dirs are all directories that drivers of this node are looked for in, but instard's own.
func (m Machine) dirs() []string {
	dirs := append([]string{}, m.Plugins...)
	if m.Dir != "" {
		dirs = append([]string{m.Dir}, dirs...)
	}
	return append(dirs, filepath.Join(m.DataDir, lockfile.PluginDir))
}

// searched reports whether instard looks into the directory.
func (m Machine) searched(dir string) bool {
	for _, d := range append([]string{filepath.Join(m.DataDir, lockfile.PluginDir)}, m.Plugins...) {
		a, errA := os.Stat(d)
		b, errB := os.Stat(dir)
		if errA == nil && errB == nil && os.SameFile(a, b) {
			return true
		}
	}
	return false
}

// nodeRecord is what instard notes of itself in its data directory.
type nodeRecord struct {
	Format  int    `json:"format"`
	Node    string `json:"node"`
	Targets []struct {
		Kind   core.DriverKind `json:"kind"`
		Driver string          `json:"driver"`
		Name   string          `json:"name"`
	} `json:"targets"`
}

// recorded are the targets that instard had at its last start: their processes run also while it does not.
func (m Machine) recorded() (nodeRecord, error) {
	path := filepath.Join(m.DataDir, "node.json")
	var r nodeRecord
	data, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return r, nil // it has never run
	}
	if err == nil {
		err = json.Unmarshal(data, &r)
	}
	if err == nil && r.Format != core.Format {
		err = fmt.Errorf("format %d, this instar reads format %d", r.Format, core.Format)
	}
	if err != nil {
		return r, core.Errorf(core.CodeCorrupt, "%s: %w", path, err)
	}
	return r, nil
}
