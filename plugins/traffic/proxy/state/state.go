// Package state keeps what the proxy must know again after it was killed: its configuration, the routes as
// they were applied last, and the generations of routes that were removed.
package state

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/instarhq/instar/sdk"
)

// Format is the number of the file format that this version writes, and the only one it reads.
const Format = 1

// fileName is the state's file in the target's private directory.
const fileName = "state.json"

// State is everything that outlives the process.
type State struct {
	Format    int                   `json:"format"`
	Configure *sdk.ConfigureRequest `json:"configure,omitempty"` // the last one, without StateDir
	Routes    map[string]sdk.Route  `json:"routes"`
	Removed   map[string]uint64     `json:"removed"` // route → the generation that removed it
}

// New is the state of a target that has nothing yet.
func New() State {
	return State{Format: Format, Routes: make(map[string]sdk.Route), Removed: make(map[string]uint64)}
}

// Load reads the state in dir; a directory without one gives New. A file that cannot be understood is an
// error: going on without it would take every route away and accept generations that are long over.
func Load(dir string) (State, error) {
	path := filepath.Join(dir, fileName)
	data, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return New(), nil
	}
	if err != nil {
		return State{}, err
	}
	s, err := Decode(data)
	if err != nil {
		return State{}, fmt.Errorf("state file %s: %w; restore it, or remove it to begin without routes", path, err)
	}
	return s, nil
}

// Decode reads an encoded state.
func Decode(data []byte) (State, error) {
	s := New()
	s.Format = 0
	d := json.NewDecoder(bytes.NewReader(data))
	if err := d.Decode(&s); err != nil {
		return State{}, err
	}
	if s.Format != Format {
		return State{}, fmt.Errorf("format %d is unknown to this version, which reads %d", s.Format, Format)
	}
	if s.Routes == nil || s.Removed == nil {
		return State{}, errors.New("routes or removed is null")
	}
	return s, nil
}

// Save replaces the state in dir. When it returns nil the new state survives a crash of the machine; when
// it fails the old one is intact.
func Save(dir string, s State) error {
	data, err := json.MarshalIndent(s, "", "  ")
	if err != nil {
		return err
	}
	path := filepath.Join(dir, fileName)
	if err := write(path+".tmp", append(data, '\n')); err != nil {
		return errors.Join(err, remove(path+".tmp"))
	}
	if err := os.Rename(path+".tmp", path); err != nil {
		return errors.Join(err, remove(path+".tmp"))
	}
	return syncDir(dir)
}

func remove(path string) error {
	if err := os.Remove(path); !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return nil
}

func write(path string, data []byte) error {
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o600)
	if err != nil {
		return err
	}
	if _, err = f.Write(data); err == nil {
		err = f.Sync()
	}
	return errors.Join(err, f.Close())
}

func syncDir(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}
