package docker

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"github.com/instarhq/instar/plugins/durable"
)

// recordFormat is the format number of instance records.
const recordFormat = 1

// The folders of the state directory, which DESIGN.md draws.
const (
	instancesDir  = "instances"
	tombstonesDir = "tombstones"
	imagesDir     = "images"
	recordFile    = "record.json"
	mountsDir     = "mounts"
)

// record is what the engine does not keep of an instance: everything else is read from the engine.
type record struct {
	Format    int               `json:"format"`
	ID        string            `json:"id"`
	Cluster   string            `json:"cluster"`
	Container string            `json:"container"`
	Addresses map[string]string `json:"addresses,omitempty"` // the engine forgets those of a container that has ended
	Mounts    []mountRecord     `json:"mounts,omitempty"`
	// Entered is when somebody was first seen to run a command in the container, and Copied how often somebody
	// has copied files into it.
	Entered time.Time `json:"entered,omitzero"`
	Copied  int       `json:"copied,omitempty"`
	Heard   time.Time `json:"heard,omitzero"` // the last event that was counted
}

// mountRecord is a config that is mounted into an instance.
type mountRecord struct {
	Path string `json:"path"` // in the container
	Sum  string `json:"sum"`
	Size int64  `json:"size"`
	File string `json:"file,omitempty"` // below the instance's folder mounts; empty: it was copied into the container
}

func (t *target) instanceDir(id string) string { return filepath.Join(t.dir, instancesDir, id) }

// readRecord returns an error that is fs.ErrNotExist for an instance without a record.
func (t *target) readRecord(id string) (record, error) {
	if !idRE.MatchString(id) {
		return record{}, fs.ErrNotExist
	}
	path := filepath.Join(t.instanceDir(id), recordFile)
	var r record
	if err := durable.ReadJSON(path, &r); err != nil {
		return record{}, err
	}
	if r.Format != recordFormat {
		return record{}, fmt.Errorf("%s has format %d; this driver knows %d: use the driver that wrote it, or a newer one",
			path, r.Format, recordFormat)
	}
	return r, nil
}

func (t *target) writeRecord(r record) error {
	r.Format = recordFormat
	dir := t.instanceDir(r.ID)
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return err
	}
	return durable.WriteJSON(filepath.Join(dir, recordFile), r)
}

// changeRecord changes the record of an instance that has one.
func (t *target) changeRecord(id string, change func(*record)) error {
	t.records.Lock()
	defer t.records.Unlock()
	r, err := t.readRecord(id)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	change(&r)
	return t.writeRecord(r)
}

// forget removes what the state directory has of an instance.
func (t *target) forget(id string) error {
	t.records.Lock()
	defer t.records.Unlock()
	return durable.RemoveTree(t.instanceDir(id))
}

// Tombstones keep ids that were destroyed from being created again by a call that is late.

// buried is how long a tombstone stays.
const buried = 30 * 24 * time.Hour

func (t *target) tombstone(id string) string { return filepath.Join(t.dir, tombstonesDir, id) }

func (t *target) isBuried(id string) bool {
	_, err := os.Lstat(t.tombstone(id))
	return err == nil
}

func (t *target) bury(id string) error {
	if t.isBuried(id) {
		return nil
	}
	f, err := os.OpenFile(t.tombstone(id), os.O_CREATE|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	if err := f.Close(); err != nil {
		return err
	}
	return durable.SyncDir(filepath.Join(t.dir, tombstonesDir))
}

// pruneTombstones removes those that are older than any call can be late.
func (t *target) pruneTombstones(now time.Time) error {
	entries, err := os.ReadDir(filepath.Join(t.dir, tombstonesDir))
	if err != nil {
		return err
	}
	for _, entry := range entries {
		info, err := entry.Info()
		if err != nil || now.Sub(info.ModTime()) < buried {
			continue // young, or unreadable just now
		}
		if err := os.Remove(t.tombstone(entry.Name())); err != nil {
			return err
		}
	}
	return nil
}
