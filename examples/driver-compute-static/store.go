package main

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/instarhq/instar/sdk"
)

// store is the driver's memory in its state directory:
//
//	artifacts/DIGEST/     copies of artifacts
//	instances/ID.json     one record for each instance, also the destroyed ones
//	generation            highest generation of the cluster
type store struct {
	dir     string
	records map[string]*record // never changed in place
}

// record is one instance.
type record struct {
	Spec      sdk.InstanceSpec `json:"spec"`
	Created   time.Time        `json:"created"`
	Bind      string           `json:"bind"`
	Ports     map[string]int   `json:"ports"`
	Exit      *sdk.Exit        `json:"exit,omitempty"`
	Destroyed bool             `json:"destroyed,omitempty"`
}

func openStore(dir string) (store, error) {
	st := store{dir: dir, records: map[string]*record{}}
	for _, sub := range []string{"artifacts", "instances"} {
		if err := os.MkdirAll(filepath.Join(dir, sub), 0o700); err != nil {
			return st, err
		}
	}
	files, err := filepath.Glob(filepath.Join(dir, "instances", "*.json"))
	if err != nil {
		return st, err
	}
	for _, file := range files {
		data, err := os.ReadFile(file)
		if err != nil {
			return st, err
		}
		var r record
		if err := json.Unmarshal(data, &r); err != nil {
			return st, fmt.Errorf("%s is damaged: %w", file, err)
		}
		st.records[r.Spec.ID] = &r
	}
	return st, nil
}

func (st store) artifact(digest string) string {
	return filepath.Join(st.dir, "artifacts", strings.TrimPrefix(digest, "sha256:"))
}

// write makes a record durable, and only then known.
func (st store) write(r *record) error {
	data, err := json.Marshal(r)
	if err != nil {
		return err
	}
	// An id may hold anything; a file name may not.
	name := hex.EncodeToString([]byte(r.Spec.ID))
	if err := replace(filepath.Join(st.dir, "instances", name+".json"), data); err != nil {
		return err
	}
	st.records[r.Spec.ID] = r
	return nil
}

// raiseGeneration refuses a daemon that was restored from the past.
func (st store) raiseGeneration(generation uint64) error {
	path := filepath.Join(st.dir, "generation")
	data, err := os.ReadFile(path)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	if err == nil {
		seen, err := strconv.ParseUint(string(data), 10, 64)
		if err != nil {
			return fmt.Errorf("%s is damaged: %w", path, err)
		}
		if generation < seen {
			return sdk.Conflict("generation %d is older than %d, which was seen before", generation, seen)
		}
		if generation == seen {
			return nil
		}
	}
	return replace(path, []byte(strconv.FormatUint(generation, 10)))
}

// replace writes a file so that a crash leaves the old or the new content: write, fsync, rename.
func replace(path string, data []byte) error {
	f, err := os.CreateTemp(filepath.Dir(path), ".new-")
	if err != nil {
		return err
	}
	_, err = f.Write(data)
	err = errors.Join(err, f.Sync(), f.Close())
	if err == nil {
		err = os.Rename(f.Name(), path)
	}
	if err != nil {
		return errors.Join(err, os.Remove(f.Name()))
	}
	dir, err := os.Open(filepath.Dir(path))
	if err != nil {
		return err
	}
	return errors.Join(dir.Sync(), dir.Close())
}

// instance is a record as the daemon sees it.
func (r *record) instance() sdk.Instance {
	i := sdk.Instance{
		ID: r.Spec.ID, Cluster: r.Spec.Cluster, Generation: r.Spec.Generation, Service: r.Spec.Service,
		Revision: r.Spec.Revision, RevisionDigest: r.Spec.RevisionDigest, State: sdk.StateRunning,
		Created: r.Created, Exit: r.Exit, Addresses: map[string]string{}, Fingerprint: r.fingerprint(),
	}
	if r.Exit != nil {
		i.State = sdk.StateExited
	}
	for name, number := range r.Ports {
		i.Addresses[name] = net.JoinHostPort(r.Bind, strconv.Itoa(number))
	}
	return i
}

// fingerprint digests what the instance was made from, as it is stored.
func (r *record) fingerprint() string {
	data, err := json.Marshal(r.Spec)
	if err != nil {
		return "" // it was read from JSON or will be written as JSON: it cannot fail
	}
	sum := sha256.Sum256(data)
	return "sha256:" + hex.EncodeToString(sum[:])
}
