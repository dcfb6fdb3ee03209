package docker_test

import (
	"archive/tar"
	"bytes"
	"testing"
	"time"

	"github.com/moby/moby/api/types/container"
	"github.com/moby/moby/api/types/network"
	"github.com/moby/moby/client"

	"github.com/instarhq/instar/sdk"
)

// TestDrift changes instances by hand, each in another way, and wants Watch to report another fingerprint.
func TestDrift(t *testing.T) {
	t.Parallel()
	needEngine(t)
	r := newRig(t, engine, "")
	extra := r.network("extra")
	w := r.watch()
	for what, change := range map[string]func(id, container string) error{
		"exec that changes a file of the image": func(id, _ string) error {
			r.exec(id, "sh", "-c", "echo web2:x:7:7::/: >>/etc/passwd")
			return nil
		},
		"exec that adds a file": func(id, _ string) error {
			r.exec(id, "touch", "/etc/added")
			return nil
		},
		"exec that removes a file of the image": func(id, _ string) error {
			r.exec(id, "rm", "/etc/group")
			return nil
		},
		"update": func(_, c string) error {
			_, err := engine.API.ContainerUpdate(t.Context(), c, client.ContainerUpdateOptions{Resources: &container.Resources{CPUShares: 77}})
			return err
		},
		"restart policy": func(_, c string) error {
			_, err := engine.API.ContainerUpdate(t.Context(), c, client.ContainerUpdateOptions{
				Resources: &container.Resources{}, RestartPolicy: &container.RestartPolicy{Name: container.RestartPolicyAlways},
			})
			return err
		},
		"rename": func(id, c string) error {
			_, err := engine.API.ContainerRename(t.Context(), c, client.ContainerRenameOptions{NewName: "mine-" + id})
			return err
		},
		"network": func(_, c string) error {
			_, err := engine.API.NetworkConnect(t.Context(), extra, client.NetworkConnectOptions{Container: c, EndpointConfig: &network.EndpointSettings{}})
			return err
		},
		"pause": func(_, c string) error {
			_, err := engine.API.ContainerPause(t.Context(), c, client.ContainerPauseOptions{})
			return err
		},
		"restart": func(_, c string) error {
			none := 0
			_, err := engine.API.ContainerRestart(t.Context(), c, client.ContainerRestartOptions{Timeout: &none})
			return err
		},
		"copy": func(_, c string) error {
			_, err := engine.API.CopyToContainer(t.Context(), c, client.CopyToContainerOptions{DestinationPath: "/etc", Content: oldFile(t)})
			return err
		},
	} {
		t.Run(what, func(t *testing.T) {
			spec := r.spec(waits)
			first := r.create(spec)
			if err := change(spec.ID, r.container(spec.ID).ID); err != nil {
				t.Fatal(err)
			}
			w.saw(t, "the change", func(i sdk.Instance) bool {
				return i.ID == spec.ID && i.State == sdk.StateRunning && i.Fingerprint != first.Fingerprint
			})
			r.shut()
			r.open()
			if i := r.inspect(spec.ID); i.Fingerprint == first.Fingerprint {
				t.Error("a fresh driver sees no change")
			}
			if err := r.driver.Destroy(t.Context(), spec.ID, 0); err != nil {
				t.Errorf("Destroy: %v", err)
			}
			w = r.watch()
		})
	}
	if names := r.containers(); len(names) > 0 {
		t.Errorf("left: %v", names)
	}
}

// oldFile is an archive with a file whose time says nothing of when it was copied.
func oldFile(t *testing.T) *bytes.Buffer {
	t.Helper()
	var b bytes.Buffer
	w := tar.NewWriter(&b)
	if err := w.WriteHeader(&tar.Header{Name: "copied", Mode: 0o644, ModTime: time.Unix(1, 0)}); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return &b
}

// TestNoDrift looks at instances as closely as a person may without changing them, and lets them write.
func TestNoDrift(t *testing.T) {
	t.Parallel()
	needEngine(t)
	r := newRig(t, engine, "")
	busy := r.spec(`{"command": ["sh", "-c", "mkdir() { busybox mkdir $1; }; mkdir /data; echo x >/data/early; echo more >>/etc/passwd; echo ready; trap 'exit 0' TERM; sleep 3600 & wait"]}`)
	busy.Mounts = []sdk.Mount{{Path: "srv/deep/site.conf", Data: []byte("x")}}
	first := r.create(busy)
	r.printed(busy.ID, "ready")
	// A second, because files' times are compared with when somebody came in.
	pause := time.NewTimer(50 * time.Millisecond)
	<-pause.C
	if got := r.exec(busy.ID, "cat", "/data/early"); got != "x" {
		t.Fatalf("exec printed %q", got)
	}
	r.exec(busy.ID, "sh", "-c", "echo debugging >/tmp/notes")
	if i := r.inspect(busy.ID); i.Fingerprint != first.Fingerprint {
		t.Error("the fingerprint changed although nobody has changed the instance")
	}
	if copied, err := engine.API.CopyFromContainer(t.Context(), r.container(busy.ID).ID, client.CopyFromContainerOptions{SourcePath: "/etc/passwd"}); err != nil {
		t.Error(err)
	} else if err := copied.Content.Close(); err != nil {
		t.Error(err)
	}
	r.shut()
	r.open()
	if i := r.inspect(busy.ID); i.Fingerprint != first.Fingerprint {
		t.Error("the fingerprint is another one to a fresh driver")
	}
}

// TestImmutable wants every change of an immutable instance's files to be drift, also by its own program.
func TestImmutable(t *testing.T) {
	t.Parallel()
	needEngine(t)
	r := newRig(t, engine, "")
	w := r.watch()
	quiet := r.spec(`{"immutable": true, "tmpfs": {"/data": ""}, "command": ["sh", "-c", "echo x >/data/x; trap 'exit 0' TERM; sleep 3600 & wait"]}`)
	quiet.Mounts = []sdk.Mount{{Path: "srv/deep/site.conf", Data: []byte("x")}}
	first := r.create(quiet)
	if i := r.inspect(quiet.ID); i.Fingerprint != first.Fingerprint {
		t.Error("the fingerprint changed although nothing has changed")
	}
	r.exec(quiet.ID, "touch", "/srv/new")
	w.saw(t, "the change", func(i sdk.Instance) bool { return i.ID == quiet.ID && i.Fingerprint != first.Fingerprint })
}

// TestExecWhileTheDriverIsAway wants what happened meanwhile to be found.
func TestExecWhileTheDriverIsAway(t *testing.T) {
	t.Parallel()
	needEngine(t)
	r := newRig(t, engine, "")
	spec := r.spec(waits)
	first := r.create(spec)
	r.shut()
	r.exec(spec.ID, "touch", "/etc/added")
	r.open()
	w := r.watch()
	w.saw(t, "the change", func(i sdk.Instance) bool { return i.ID == spec.ID && i.Fingerprint != first.Fingerprint })
}
