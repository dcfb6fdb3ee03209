package docker_test

import (
	"context"
	"testing"
	"time"

	"github.com/moby/moby/api/types/events"

	"github.com/instarhq/instar/plugins/compute/docker"
	"github.com/instarhq/instar/plugins/compute/docker/dockertest"
	"github.com/instarhq/instar/sdk"
)

// TestPodman lives an instance's life with Podman's compatible socket.
func TestPodman(t *testing.T) {
	t.Parallel()
	needEngine(t)
	podman, err := dockertest.StartPodman(context.Background())
	if err != nil {
		t.Fatalf("start Podman: %v", err)
	}
	t.Cleanup(func() {
		if err := podman.Stop(); err != nil {
			t.Errorf("Podman leaves something behind: %v", err)
		}
	})
	name := podman.Local(image)
	if _, err := podman.Busybox(context.Background(), name, nil, `CMD ["sleep", "3600"]`); err != nil {
		t.Fatal(err)
	}
	r := newRig(t, podman, "")
	r.pinned = r.pin(name)
	w := r.watch()
	spec := r.spec(`{"command": ["sh", "-c", "echo $INSTAR_INSTANCE >/tmp/index.html; cat /etc/site.conf; trap 'exit 0' TERM; httpd -f -p $INSTAR_PORT_HTTP -h /tmp & wait"]}`)
	spec.Ports = []sdk.Port{{Name: "http"}}
	spec.Mounts = []sdk.Mount{{Path: "etc/site.conf", Data: []byte("mounted\n")}}
	first := r.create(spec)
	r.answers(first)
	r.printed(spec.ID, "mounted")
	if again := r.create(spec); !again.Created.Equal(first.Created) || again.Fingerprint != first.Fingerprint || len(r.containers()) != 1 {
		t.Errorf("a repeated Create gives %+v, want %+v", again, first)
	}
	w.saw(t, "the instance", func(i sdk.Instance) bool { return i.ID == spec.ID && i.State == sdk.StateRunning })
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	var sample sdk.Usage
	_ = r.driver.Usage(ctx, time.Second, func(list []sdk.Usage) error { // ends with ctx
		for _, u := range list {
			if u.ID == spec.ID {
				sample = u
				cancel()
			}
		}
		return nil
	})
	if sample.CPUNanos == 0 || sample.At.IsZero() {
		t.Errorf("usage is %+v", sample)
	}
	r.exec(spec.ID, "touch", "/etc/added")
	w.saw(t, "the change", func(i sdk.Instance) bool { return i.ID == spec.ID && i.Fingerprint != first.Fingerprint })
	r.shut()
	r.open()
	if i := r.inspect(spec.ID); i.State != sdk.StateRunning || i.Addresses["http"] != first.Addresses["http"] {
		t.Errorf("to a fresh driver it is %+v", i)
	}
	w = r.watch()
	w.saw(t, "the instance", func(i sdk.Instance) bool { return i.ID == spec.ID })
	if err := r.driver.Destroy(t.Context(), spec.ID, 5*time.Second); err != nil {
		t.Fatalf("Destroy: %v", err)
	}
	w.saw(t, "its end", func(i sdk.Instance) bool { return i.ID == spec.ID && i.State == sdk.StateDestroyed })
	if names := r.containers(); len(names) > 0 {
		t.Errorf("left: %v", names)
	}
}

// TestEntry: Podman tells of an exec when its process has begun, so what was changed shortly before counts, too.
func TestEntry(t *testing.T) {
	t.Parallel()
	at := time.Unix(1_700_000_000, 5).UTC()
	for action, before := range map[string]time.Duration{"exec_create: sh": 0, "exec_start: sh": 0, "exec_die": 0, "exec": 5 * time.Second} {
		entered, copied := docker.Entry(events.Message{Action: events.Action(action), TimeNano: at.UnixNano()})
		if !entered.Equal(at.Add(-before)) || copied {
			t.Errorf("%s says that somebody is in since %s, copied %t; want %s, false", action, entered, copied, at.Add(-before))
		}
	}
	for action, want := range map[string]bool{"copy": true, "extract-to-dir": true, "start": false, "exec_died": false} {
		if entered, copied := docker.Entry(events.Message{Action: events.Action(action), TimeNano: at.UnixNano()}); !entered.IsZero() || copied != want {
			t.Errorf("%s says that somebody is in since %s, copied %t; want never, %t", action, entered, copied, want)
		}
	}
}
