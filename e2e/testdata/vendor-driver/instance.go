package main

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"time"

	"github.com/instarhq/instar/sdk"
)

// instance is one page that is shown, as its file has it.
type instance struct {
	sdk.Instance
	Artifact string
	Title    string

	servers []*http.Server
}

func (d *driver) file(id string) string      { return filepath.Join(d.dir, "instances", id+".json") }
func (d *driver) tombstone(id string) string { return filepath.Join(d.dir, "destroyed", id) }

// Create implements sdk.Compute. The file is written before the page is shown, so a crash in between is
// made good by the next process.
func (d *driver) Create(_ context.Context, spec sdk.InstanceSpec) (sdk.Instance, error) {
	var config struct{ Title string }
	if err := sdk.Decode(workload, spec.Config, &config); err != nil {
		return sdk.Instance{}, err
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	if found, ok := d.instances[spec.ID]; ok {
		if found.RevisionDigest != spec.RevisionDigest {
			return sdk.Instance{}, sdk.Conflict("instance %s exists with revision %s", spec.ID, found.RevisionDigest)
		}
		return found.Instance, nil
	}
	if _, err := os.Stat(d.tombstone(spec.ID)); err == nil {
		return sdk.Instance{}, sdk.Conflict("instance %s was destroyed", spec.ID)
	}
	fingerprint, err := check(spec)
	if err != nil {
		return sdk.Instance{}, err
	}
	i := &instance{Artifact: spec.Artifact.Digest, Title: config.Title, Instance: sdk.Instance{
		ID: spec.ID, Cluster: spec.Cluster, Generation: spec.Generation, Service: spec.Service, Revision: spec.Revision,
		RevisionDigest: spec.RevisionDigest, State: sdk.StateRunning, Addresses: map[string]string{},
		Fingerprint: fingerprint, Created: time.Now().UTC(),
	}}
	for _, port := range spec.Ports {
		i.Addresses[port.Name] = fmt.Sprintf("127.0.0.1:%d", port.Number)
	}
	if err := d.show(i); err != nil {
		return sdk.Instance{}, err
	}
	data, err := json.Marshal(i)
	if err == nil {
		err = write(d.file(i.ID), data)
	}
	if err != nil {
		i.close()
		return sdk.Instance{}, err
	}
	d.instances[i.ID] = i
	d.tell(i.Instance)
	return i.Instance, nil
}

// check refuses what a page cannot be made of, and digests the rest.
func check(spec sdk.InstanceSpec) (fingerprint string, err error) {
	for _, m := range spec.Mounts {
		if !filepath.IsLocal(m.Path) {
			return "", sdk.InvalidConfig("mount", "path %q leaves the instance", m.Path)
		}
	}
	ports := map[string]int{}
	for _, port := range spec.Ports {
		ports[port.Name] = port.Number
	}
	for name, value := range spec.Env {
		if _, err := sdk.Expand(value, ports, spec.ID); err != nil {
			return "", sdk.InvalidConfig("env."+name, "%w", err)
		}
	}
	data, err := json.Marshal(spec)
	if err != nil {
		return "", err
	}
	sum := sha256.Sum256(data)
	return "sha256:" + hex.EncodeToString(sum[:]), nil
}

// show listens on the instance's addresses; port 0 becomes a free one.
func (d *driver) show(i *instance) error {
	text, err := os.ReadFile(d.artifact(i.Artifact))
	if err != nil {
		return err
	}
	for name, address := range i.Addresses {
		listener, err := net.Listen("tcp", address)
		if err != nil {
			i.close()
			return sdk.Unavailable(time.Second, "port %s: %w", name, err)
		}
		i.Addresses[name] = listener.Addr().String()
		server := &http.Server{ReadHeaderTimeout: 10 * time.Second, Handler: http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Shop-Revision", fmt.Sprint(i.Revision))
			_, _ = fmt.Fprintf(w, "%s\n%s", i.Title, text)
		})}
		i.servers = append(i.servers, server)
		go func() { _ = server.Serve(listener) }()
	}
	return nil
}

func (i *instance) close() {
	for _, server := range i.servers {
		_ = server.Close()
	}
}

// resume shows again what an earlier process showed.
func (d *driver) resume() error {
	names, err := filepath.Glob(filepath.Join(d.dir, "instances", "*.json"))
	for _, name := range names {
		data, readErr := os.ReadFile(name)
		var i instance
		if readErr == nil {
			readErr = json.Unmarshal(data, &i)
		}
		if readErr == nil {
			readErr = d.show(&i)
		}
		if readErr != nil {
			err = errors.Join(err, fmt.Errorf("%s: %w", name, readErr))
			continue
		}
		d.instances[i.ID] = &i
	}
	return err
}

// Destroy implements sdk.Compute. The tombstone comes first: a crash in between must not free the id.
func (d *driver) Destroy(ctx context.Context, id string, grace time.Duration) error {
	d.mu.Lock()
	i, ok := d.instances[id]
	d.mu.Unlock()
	if !ok {
		return nil
	}
	if err := write(d.tombstone(id), nil); err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, grace)
	defer cancel()
	for _, server := range i.servers {
		_ = server.Shutdown(ctx) // close ends what is left
	}
	i.close()
	d.mu.Lock()
	defer d.mu.Unlock()
	if err := os.Remove(d.file(id)); err != nil && !errors.Is(err, os.ErrNotExist) {
		return err
	}
	delete(d.instances, id)
	gone := i.Instance
	gone.State = sdk.StateDestroyed
	d.tell(gone)
	return nil
}

func (d *driver) tell(i sdk.Instance) {
	for watcher := range d.watchers {
		select {
		case watcher <- i:
		default: // a watcher that is 1024 changes behind will look for itself
		}
	}
}

// Inspect implements sdk.Compute.
func (d *driver) Inspect(_ context.Context, id string) (sdk.Instance, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if i, ok := d.instances[id]; ok {
		return i.Instance, nil
	}
	return sdk.Instance{}, sdk.NotFound("there is no instance %q", id)
}

// List implements sdk.Compute.
func (d *driver) List(_ context.Context, cluster string) ([]sdk.Instance, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	var found []sdk.Instance
	for _, i := range d.instances {
		if i.Cluster == cluster {
			found = append(found, i.Instance)
		}
	}
	return found, nil
}
