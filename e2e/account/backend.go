package main

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"github.com/instarhq/instar/sdk"
)

// backend is the shared folder:
//
//	lock        whoever changes something holds it
//	journal     a line for each Create and Destroy, and for what they did
//	generation  the highest one of the cluster
//	hold        made by a test: Create waits; see create.go
//	ID.json     the record of an instance, also of a destroyed one
//	ID.lives    locked by the instance's process for as long as it lives
type backend struct {
	dir, node string
}

// record is one instance.
type record struct {
	Spec      sdk.InstanceSpec `json:"spec"`
	Created   time.Time        `json:"created"`
	Address   string           `json:"address"`
	Pid       int              `json:"pid"`
	Destroyed bool             `json:"destroyed,omitempty"`
}

// entry is a line of the journal.
type entry struct {
	Event    event  `json:"event"`
	Instance string `json:"instance"`
	Node     string `json:"node"` // whose driver it was
}

type event string

const (
	askedCreate  event = "create" // the call has begun
	askedDestroy event = "destroy"
	made         event = "made" // and this is what one did
	ended        event = "ended"
)

func openBackend(dir, node string) (backend, error) {
	info, err := os.Stat(dir)
	if err != nil {
		return backend{}, sdk.InvalidConfig("dir", "%w", err)
	}
	if !info.IsDir() {
		return backend{}, sdk.InvalidConfig("dir", "%s is no folder", dir)
	}
	return backend{dir: dir, node: node}, nil
}

func (b backend) path(name string) string { return filepath.Join(b.dir, name) }

// alone calls f while no other driver changes anything.
func (b backend) alone(f func() error) error {
	lock, err := os.OpenFile(b.path("lock"), os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return err
	}
	defer func() { _ = lock.Close() }() // which unlocks it
	for {
		if err = syscall.Flock(int(lock.Fd()), syscall.LOCK_EX); !errors.Is(err, syscall.EINTR) {
			break
		}
	}
	if err != nil {
		return err
	}
	return f()
}

// raise refuses a daemon that was restored from the past.
func (b backend) raise(generation uint64) error {
	return b.alone(func() error {
		var seen uint64
		data, err := os.ReadFile(b.path("generation"))
		if err == nil {
			err = json.Unmarshal(data, &seen)
		}
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
		if generation < seen {
			return sdk.Conflict("generation %d is older than %d, which was seen before", generation, seen)
		}
		return b.replace("generation", generation)
	})
}

// note adds a line to the journal. Lines of several processes do not mix: each is one short write at the end.
func (b backend) note(what event, instance string) error {
	line, err := json.Marshal(entry{Event: what, Instance: instance, Node: b.node})
	if err != nil {
		return err
	}
	f, err := os.OpenFile(b.path("journal"), os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o600)
	if err != nil {
		return err
	}
	_, err = f.Write(append(line, '\n'))
	return errors.Join(err, f.Close())
}

// replace writes a file so that a reader sees the old or the new content.
func (b backend) replace(name string, content any) error {
	data, err := json.Marshal(content)
	if err != nil {
		return err
	}
	next := b.path("." + name + "." + b.node)
	if err := os.WriteFile(next, data, 0o600); err != nil {
		return err
	}
	return os.Rename(next, b.path(name))
}

func (b backend) write(r *record) error { return b.replace(r.Spec.ID+".json", r) }

// read gives the record of an instance; NotFound if there never was one.
func (b backend) read(id string) (*record, error) {
	data, err := os.ReadFile(b.path(id + ".json"))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, sdk.NotFound("there is no instance %q", id)
	}
	if err != nil {
		return nil, err
	}
	var r record
	return &r, json.Unmarshal(data, &r)
}

// all gives every record.
func (b backend) all() ([]*record, error) {
	files, err := filepath.Glob(b.path("*.json"))
	if err != nil {
		return nil, err
	}
	var records []*record
	for _, file := range files {
		r, err := b.read(strings.TrimSuffix(filepath.Base(file), ".json"))
		if err != nil {
			return nil, err
		}
		records = append(records, r)
	}
	return records, nil
}

// instance is a record as the daemon sees it.
func (b backend) instance(r *record) (sdk.Instance, error) {
	spec, err := json.Marshal(r.Spec)
	if err != nil {
		return sdk.Instance{}, err
	}
	sum := sha256.Sum256(spec)
	i := sdk.Instance{
		ID: r.Spec.ID, Cluster: r.Spec.Cluster, Generation: r.Spec.Generation, Service: r.Spec.Service,
		Revision: r.Spec.Revision, RevisionDigest: r.Spec.RevisionDigest, State: sdk.StateRunning, Created: r.Created,
		Addresses: map[string]string{r.Spec.Ports[0].Name: r.Address}, Fingerprint: "sha256:" + hex.EncodeToString(sum[:]),
	}
	lives, err := b.lives(r.Spec.ID)
	switch {
	case err != nil:
		return sdk.Instance{}, err
	case r.Destroyed:
		i.State = sdk.StateDestroyed
	case !lives:
		i.State, i.Exit = sdk.StateExited, &sdk.Exit{Code: -1, Message: "its process has ended"}
	}
	return i, nil
}
