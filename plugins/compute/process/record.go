package process

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"time"

	"github.com/instarhq/instar/plugins/compute/process/launch"
	"github.com/instarhq/instar/plugins/durable"
	"github.com/instarhq/instar/sdk"
)

// recordFormat is the format number of instance records, and layoutFormat that of the state directory.
const (
	recordFormat = 1
	layoutFormat = 1
)

// record is everything that is decided about an instance, fixed before it is started for the first time.
type record struct {
	Format         int            `json:"format"`
	ID             string         `json:"id"`
	Cluster        string         `json:"cluster"`
	Generation     uint64         `json:"generation"`
	Service        string         `json:"service"`
	Revision       int            `json:"revision"`
	RevisionDigest string         `json:"revision_digest"`
	Created        time.Time      `json:"created"`
	Address        string         `json:"address"`
	Ports          map[string]int `json:"ports,omitempty"`
	Resources      sdk.Resources  `json:"resources"`
	Grace          time.Duration  `json:"grace"`
	StopSignal     int            `json:"stop_signal"`
	LogBytes       int64          `json:"log_bytes"`
	OwnUser        bool           `json:"own_user,omitempty"` // the plan's user is this instance's alone
	// What it was created from, to recognise drift.
	Digest  string         `json:"digest,omitempty"` // of the artifact
	Tree    string         `json:"tree,omitempty"`   // its tree in the store
	TreeSum string         `json:"tree_sum,omitempty"`
	Mounts  []mountRecord  `json:"mounts,omitempty"`
	Program *programRecord `json:"program,omitempty"`
	Limits  string         `json:"limits,omitempty"` // as the kernel gave them back
	Plan    launch.Plan    `json:"plan"`
	// Found: the record was made from what the process alone tells, after the first one was lost.
	Found bool `json:"found,omitempty"`
}

// mountRecord is a mounted file as it was written.
type mountRecord struct {
	Path string `json:"path"` // relative to the instance's directory
	Mode uint32 `json:"mode"`
	Sum  string `json:"sum"`
}

// programRecord is a program that is not part of the artifact.
type programRecord struct {
	Path string `json:"path"`
	Sum  string `json:"sum"`
}

// exitRecord is how an instance ended, once that is known.
type exitRecord struct {
	Code    int       `json:"code"`
	Signal  string    `json:"signal,omitempty"`
	OOM     bool      `json:"oom,omitempty"`
	Message string    `json:"message"`
	At      time.Time `json:"at"`
}

const exitFile = "exit.json"

// idRE keeps ids usable as file names.
var idRE = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9._-]{0,127}$`)

func checkID(id string) error {
	if idRE.MatchString(id) {
		return nil
	}
	return sdk.InvalidConfig("id", "%q: an instance id has 1 to 128 of letters, digits, dot, _ and -, and begins with a letter or digit", id)
}

func readRecord(dir string) (record, error) {
	path := filepath.Join(dir, launch.PlanFile)
	var r record
	if err := durable.ReadJSON(path, &r); err != nil {
		return record{}, err
	}
	if r.Format != recordFormat {
		return record{}, fmt.Errorf("%s has format %d; this driver knows %d: use the driver that wrote it, or a newer one",
			path, r.Format, recordFormat)
	}
	if r.ID != filepath.Base(dir) {
		return record{}, fmt.Errorf("%s is of instance %q", path, r.ID)
	}
	return r, nil
}

// readExit returns nil if it is not known, or not yet, how the instance ended.
func readExit(dir string) (*sdk.Exit, error) {
	var e exitRecord
	err := durable.ReadJSON(filepath.Join(dir, exitFile), &e)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	exit := sdk.Exit(e)
	return &exit, nil
}

func writeExit(dir string, exit sdk.Exit) error {
	return durable.WriteJSON(filepath.Join(dir, exitFile), exitRecord(exit))
}

// Tombstones keep ids that were destroyed from being created again by a call that is late.

// buried is how long a tombstone stays.
const buried = 30 * 24 * time.Hour

func (t *target) tombstone(id string) string { return filepath.Join(t.dir, "tombstones", id) }

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
	return durable.SyncDir(filepath.Join(t.dir, "tombstones"))
}

// pruneTombstones removes those that are older than any call can be late.
func (t *target) pruneTombstones(now time.Time) error {
	entries, err := os.ReadDir(filepath.Join(t.dir, "tombstones"))
	if err != nil {
		return err
	}
	for _, entry := range entries {
		info, err := entry.Info()
		if err != nil || now.Sub(info.ModTime()) < buried || exists(t.instanceDir(entry.Name())) {
			continue // young, unreadable just now, or of a Destroy that has not come to its end
		}
		if err := os.Remove(t.tombstone(entry.Name())); err != nil {
			return err
		}
	}
	return nil
}

func exists(path string) bool {
	_, err := os.Lstat(path)
	return err == nil
}
