package main

import (
	"context"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"time"

	"github.com/instarhq/instar/sdk"
)

// site is the web server of one running instance. It answers on every port of the instance.
type site struct {
	server *http.Server
}

// maxID bounds an instance's id: its record's file name has two characters for each byte, and 255 at most.
const maxID = 100

// check refuses what no site can be made of, before anything is made.
func check(spec sdk.InstanceSpec) error {
	if spec.ID == "" || len(spec.ID) > maxID {
		return sdk.InvalidConfig("id", "an id has 1 to %d bytes", maxID)
	}
	ports := map[string]int{}
	for _, p := range spec.Ports {
		ports[p.Name] = p.Number
	}
	for _, m := range spec.Mounts {
		if !filepath.IsLocal(m.Path) || filepath.Clean(m.Path) != m.Path || m.Path == "." {
			return sdk.InvalidConfig("mount", "path %q does not stay inside the instance", m.Path)
		}
	}
	for name, value := range spec.Env {
		if _, err := sdk.Expand(value, ports, spec.ID); err != nil {
			return sdk.InvalidConfig("env."+name, "%w", err)
		}
	}
	_, err := decode(spec, ports)
	return err
}

// decode reads the compute block, with its placeholders replaced.
func decode(spec sdk.InstanceSpec, ports map[string]int) (workload, error) {
	var w workload
	if err := sdk.Decode(workloadSchema, spec.Config, &w); err != nil {
		return w, err
	}
	for name, value := range w.Headers {
		expanded, err := sdk.Expand(value, ports, spec.ID)
		if err != nil {
			return w, sdk.InvalidConfig("headers["+strconv.Quote(name)+"]", "%w", err)
		}
		w.Headers[name] = expanded
	}
	return w, nil
}

// start opens the listeners of a record and serves its files.
func (d *driver) start(r *record) (*site, error) {
	w, err := decode(r.Spec, r.Ports)
	if err != nil {
		return nil, err
	}
	var listeners []net.Listener
	for name, number := range r.Ports {
		l, err := net.Listen("tcp", net.JoinHostPort(r.Bind, strconv.Itoa(number)))
		if err != nil {
			for _, l := range listeners {
				_ = l.Close() // the first error is what counts
			}
			return nil, sdk.Unavailable(time.Second, "port %q: %w", name, err)
		}
		listeners = append(listeners, l)
	}
	s := &site{&http.Server{
		Handler: handler(os.DirFS(d.store.artifact(r.Spec.Artifact.Digest)), r.Spec.Mounts, w), ReadHeaderTimeout: time.Minute,
	}}
	for _, l := range listeners {
		go func() { _ = s.server.Serve(l) }() // ends when the site is closed
	}
	return s, nil
}

func (s *site) close() { _ = s.server.Close() } // listeners that fail to close are gone with the process

// drain lets requests under way end, as far as grace goes.
func (s *site) drain(grace time.Duration) {
	ctx, cancel := context.WithTimeout(context.Background(), grace)
	defer cancel()
	_ = s.server.Shutdown(ctx) // out of time: close what is left
	s.close()
}
