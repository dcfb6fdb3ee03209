package docker_test

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/moby/moby/api/types/container"
	"github.com/moby/moby/client"

	"github.com/instarhq/instar/sdk"
)

func attributeOf(err error) string {
	var typed *sdk.Error
	if errors.As(err, &typed) {
		return typed.Attribute
	}
	return ""
}

func TestHostileIDs(t *testing.T) {
	t.Parallel()
	needEngine(t)
	r := newRig(t, engine, "")
	for _, id := range []string{"", "..", ".", "../../etc", "a/b", "-x", "a b", "ü", "a\x00b", "a\nb", strings.Repeat("a", 200), "?all=1", "a?force=1", "%2e%2e"} {
		spec := r.spec(waits)
		spec.ID = id
		_, err := r.driver.Create(t.Context(), spec)
		wantCode(t, err, sdk.CodeInvalidConfig)
		_, err = r.driver.Inspect(t.Context(), id)
		wantCode(t, err, sdk.CodeNotFound)
		if err := r.driver.Destroy(t.Context(), id, time.Second); err != nil {
			t.Errorf("Destroy %q: %v", id, err)
		}
		wantCode(t, r.driver.Logs(t.Context(), id, sdk.LogOptions{}, nil), sdk.CodeNotFound)
	}
	longest := r.spec(waits)
	longest.ID = strings.Repeat("x", 128)
	r.create(longest)
}

func TestHostileMounts(t *testing.T) {
	t.Parallel()
	needEngine(t)
	r := newRig(t, engine, "")
	for _, path := range []string{"", "/", ".", "..", "../x", "a/../../x", "/etc/x", "a/", "a\x00b", "a\nb"} {
		spec := r.spec(waits)
		spec.Mounts = []sdk.Mount{{Path: "ok"}, {Path: path}}
		r.refused(spec, "mount[1].path")
	}
	spec := r.spec(waits)
	spec.Mounts = []sdk.Mount{{Path: "a"}, {Path: "./a"}}
	r.refused(spec, "mount[1].path")

	spec = r.spec(`{"command": ["sh", "-c", "cat '/a:b, c=d/größe \"q\"'; echo; echo x >'/a:b, c=d/größe \"q\"' || echo refused; trap 'exit 0' TERM; sleep 3600 & wait"]}`)
	spec.Mounts = []sdk.Mount{{Path: `a:b, c=d/größe "q"`, Data: []byte("inside")}}
	r.create(spec)
	r.printed(spec.ID, "inside", "refused")
}

// TestOthersAreLeftAlone has containers of others beside the driver's, which look as much like its own as they
// can.
func TestOthersAreLeftAlone(t *testing.T) {
	t.Parallel()
	needEngine(t)
	r := newRig(t, engine, "")
	spec := r.spec(waits)
	mine := r.create(spec)
	own := r.container(spec.ID)
	run := func(name, image string, labels map[string]string) string {
		t.Helper()
		made, err := engine.API.ContainerCreate(t.Context(), client.ContainerCreateOptions{
			Name: name, Image: image, Config: &container.Config{Labels: labels},
		})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() {
			if _, err := engine.API.ContainerRemove(context.Background(), made.ID, client.ContainerRemoveOptions{Force: true}); err != nil {
				t.Errorf("a container of somebody else's: %v", err)
			}
		})
		if _, err := engine.API.ContainerStart(t.Context(), made.ID, client.ContainerStartOptions{}); err != nil {
			t.Fatal(err)
		}
		return made.ID
	}
	// An image that was committed from an instance passes its labels on.
	committed, err := engine.API.ContainerCommit(t.Context(), own.ID, client.ContainerCommitOptions{Reference: "instar/committed:" + r.req.Cluster})
	if err != nil {
		t.Fatal(err)
	}
	foreign := r.spec(waits)
	others := []string{
		run("copy-"+r.req.Cluster, committed.ID, nil),
		run("other-"+r.req.Cluster, image, map[string]string{"instar.cluster": r.req.Cluster}),
		run("third-"+r.req.Cluster, image, map[string]string{"instar.cluster": r.req.Cluster, "instar.instance": "../../x", "instar.node": "n1"}),
		run(strings.Replace(strings.TrimPrefix(own.Name, "/"), spec.ID, foreign.ID, 1), image, nil), // in the way of one to come
	}
	list, err := r.driver.List(t.Context(), r.req.Cluster)
	if err != nil || len(list) != 1 || list[0].ID != mine.ID {
		t.Errorf("List gives %+v, %v; want only %s", list, err, mine.ID)
	}
	_, err = r.driver.Create(t.Context(), foreign)
	wantCode(t, err, sdk.CodeConflict)
	_, err = r.driver.Inspect(t.Context(), foreign.ID)
	wantCode(t, err, sdk.CodeNotFound)
	for _, id := range []string{foreign.ID, spec.ID} {
		if err := r.driver.Destroy(t.Context(), id, 0); err != nil {
			t.Errorf("Destroy: %v", err)
		}
	}
	r.shut()
	r.open()
	if _, err := r.driver.Prune(t.Context(), nil); err != nil { // which tidies up
		t.Error(err)
	}
	for _, id := range others {
		c, err := engine.API.ContainerInspect(t.Context(), id, client.ContainerInspectOptions{})
		if err != nil || !c.Container.State.Running {
			t.Errorf("a container of somebody else's is gone or has ended: %v", err)
		}
	}
}

// TestStateIsLost finds instances again from the engine alone.
func TestStateIsLost(t *testing.T) {
	t.Parallel()
	needEngine(t)
	r := newRig(t, engine, "")
	spec := r.spec(waits)
	spec.Ports = []sdk.Port{{Name: "http"}}
	first := r.create(spec)
	r.shut()
	r.req.StateDir = t.TempDir()
	r.open()
	list, err := r.driver.List(t.Context(), r.req.Cluster)
	if err != nil || len(list) != 1 || list[0].Fingerprint != first.Fingerprint || list[0].Addresses["http"] != first.Addresses["http"] {
		t.Errorf("List gives %+v, %v; want %+v", list, err, first)
	}
	if again := r.create(spec); !again.Created.Equal(first.Created) {
		t.Errorf("Create made another one: %+v, want %+v", again, first)
	}
}
