package docker_test

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/moby/moby/api/pkg/stdcopy"
	"github.com/moby/moby/api/types/container"
	"github.com/moby/moby/client"

	"github.com/instarhq/instar/plugins/compute/docker"
	"github.com/instarhq/instar/plugins/compute/docker/dockertest"
	"github.com/instarhq/instar/sdk"
)

// patience is for everything that ends well on a machine that is busy with something else.
const patience = 60 * time.Second

// rig is a driver on a cluster of its own.
type rig struct {
	*testing.T
	e      *dockertest.Engine
	req    sdk.ConfigureRequest
	driver *docker.Driver
	pinned sdk.Artifact
}

// newRig configures a driver with a target at an engine; more is further configuration.
func newRig(t *testing.T, e *dockertest.Engine, more string) *rig {
	t.Helper()
	r := &rig{T: t, e: e, req: sdk.ConfigureRequest{
		Target: "local", Node: "n1", Cluster: fmt.Sprintf("test-%08x", rand.Uint32()), Generation: 1, StateDir: t.TempDir(), Config: targetOf(e, more),
	}}
	r.open()
	t.Cleanup(r.close)
	return r
}

// open configures a fresh driver on the same state.
func (r *rig) open() {
	r.Helper()
	r.driver = docker.New()
	if err := r.driver.Configure(context.Background(), r.req); err != nil {
		r.Fatalf("Configure: %v", err)
	}
}

// shut lets go of the driver and leaves everything that it made.
func (r *rig) shut() {
	r.Helper()
	if err := r.driver.Close(context.Background()); err != nil {
		r.Errorf("Close: %v", err)
	}
}

// close removes everything.
func (r *rig) close() {
	r.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	list, err := r.driver.List(ctx, r.req.Cluster)
	if err != nil {
		r.Errorf("List at the end: %v", err)
	}
	for _, i := range list {
		if err := r.driver.Destroy(ctx, i.ID, 0); err != nil {
			r.Errorf("Destroy at the end: %v", err)
		}
	}
	r.shut()
}

// pin resolves and fetches an image.
func (r *rig) pin(source string) sdk.Artifact {
	r.Helper()
	a, err := r.driver.Resolve(r.Context(), sdk.Artifact{Source: source})
	if err != nil {
		r.Fatalf("Resolve %s: %v", source, err)
	}
	if err := r.driver.Fetch(r.Context(), a, nil); err != nil {
		r.Fatalf("Fetch %s: %v", source, err)
	}
	return a
}

// waits is a workload that runs until it is asked to end.
const waits = `{"entrypoint": ["sh", "-c", "trap 'exit 0' TERM; sleep 3600 & wait"]}`

// spec is an instance with a new id.
func (r *rig) spec(config string) sdk.InstanceSpec {
	r.Helper()
	if r.pinned.Digest == "" {
		r.pinned = r.pin(image)
	}
	return sdk.InstanceSpec{
		ID: fmt.Sprintf("web-%08x", rand.Uint32()), Cluster: r.req.Cluster, Generation: r.req.Generation, Service: "web",
		Revision: 3, RevisionDigest: "sha256:" + strings.Repeat("ab", 32), Artifact: r.pinned, Config: json.RawMessage(config),
		Grace: 2 * time.Second,
	}
}

func (r *rig) create(spec sdk.InstanceSpec) sdk.Instance {
	r.Helper()
	ctx, cancel := context.WithTimeout(r.Context(), patience)
	defer cancel()
	i, err := r.driver.Create(ctx, spec)
	if err != nil {
		r.Fatalf("Create %s: %v", spec.ID, err)
	}
	return i
}

func (r *rig) inspect(id string) sdk.Instance {
	r.Helper()
	i, err := r.driver.Inspect(r.Context(), id)
	if err != nil {
		r.Fatalf("Inspect %s: %v", id, err)
	}
	return i
}

// refused wants Create to fail with InvalidConfig at an attribute, and to leave nothing.
func (r *rig) refused(spec sdk.InstanceSpec, attribute string) {
	r.Helper()
	_, err := r.driver.Create(r.Context(), spec)
	wantCode(r.T, err, sdk.CodeInvalidConfig)
	if !strings.HasPrefix(fmt.Sprint(err), attribute+":") {
		r.Errorf("the error is %q, want it to be about %s", err, attribute)
	}
	if names := r.containers(); len(names) > 0 {
		r.Errorf("the refused Create has left %v", names)
	}
}

// containers are the names of the cluster's containers, in any state, as the engine has them.
func (r *rig) containers() []string {
	r.Helper()
	list, err := r.e.API.ContainerList(r.Context(), client.ContainerListOptions{
		All: true, Filters: client.Filters{}.Add("label", "instar.cluster="+r.req.Cluster),
	})
	if err != nil {
		r.Fatalf("list containers: %v", err)
	}
	var names []string
	for _, c := range list.Items {
		names = append(names, c.Names[0]+" ("+string(c.State)+")")
	}
	return names
}

// container is what the engine has of an instance.
func (r *rig) container(id string) container.InspectResponse {
	r.Helper()
	list, err := r.e.API.ContainerList(r.Context(), client.ContainerListOptions{
		All: true, Filters: client.Filters{}.Add("label", "instar.cluster="+r.req.Cluster, "instar.instance="+id),
	})
	if err != nil || len(list.Items) != 1 {
		r.Fatalf("instance %s has %d containers, %v; want one", id, len(list.Items), err)
	}
	c, err := r.e.API.ContainerInspect(r.Context(), list.Items[0].ID, client.ContainerInspectOptions{})
	if err != nil {
		r.Fatal(err)
	}
	return c.Container
}

// exec runs a command in an instance, as `docker exec` does.
func (r *rig) exec(id string, command ...string) string {
	r.Helper()
	made, err := r.e.API.ExecCreate(r.Context(), r.container(id).ID, client.ExecCreateOptions{
		Cmd: command, AttachStdout: true, AttachStderr: true,
	})
	if err != nil {
		r.Fatalf("exec: %v", err)
	}
	attached, err := r.e.API.ExecAttach(r.Context(), made.ID, client.ExecAttachOptions{})
	if err != nil {
		r.Fatalf("exec: %v", err)
	}
	defer attached.Close()
	var out bytes.Buffer
	if _, err := stdcopy.StdCopy(&out, &out, attached.Reader); err != nil {
		r.Fatalf("exec: %v", err)
	}
	return strings.TrimSpace(out.String())
}

// get asks an instance over HTTP.
func get(ctx context.Context, address string) (string, error) {
	ctx, cancel := context.WithTimeout(ctx, patience/3)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+address+"/index.html", nil)
	if err != nil {
		return "", err
	}
	req.Close = true
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return "", err
	}
	defer func() { _ = resp.Body.Close() }() // read to its end
	body, err := io.ReadAll(resp.Body)
	if err == nil && resp.StatusCode != http.StatusOK {
		err = fmt.Errorf("status %s", resp.Status)
	}
	return strings.TrimSpace(string(body)), err
}

// answers wants an instance to answer with its name.
func (r *rig) answers(i sdk.Instance) {
	r.Helper()
	eventually(r.T, "instance "+i.ID+" answers", func() bool {
		body, err := get(r.Context(), i.Addresses["http"])
		return err == nil && body == i.ID
	})
}

func wantCode(t *testing.T, err error, code sdk.Code) {
	t.Helper()
	if got := sdk.CodeOf(err); got != code {
		t.Errorf("got %v (code %q), want code %q", err, got, code)
	}
}

func eventually(t *testing.T, what string, ok func() bool) {
	t.Helper()
	for deadline := time.Now().Add(patience); !ok(); {
		if time.Now().After(deadline) {
			t.Fatalf("not within %s: %s", patience, what)
		}
		pause := time.NewTimer(20 * time.Millisecond)
		<-pause.C
	}
}

// watched collects what Watch says.
type watched struct {
	mu     sync.Mutex
	events []sdk.Instance
}

// watch follows the driver that the rig has now, and asks again when the driver cannot begin, as the daemon does.
func (r *rig) watch() *watched {
	r.Helper()
	w := &watched{}
	ctx, cancel := context.WithCancel(context.Background())
	r.Cleanup(cancel)
	driver := r.driver
	go func() {
		for ctx.Err() == nil {
			_ = driver.Watch(ctx, func(i sdk.Instance) error {
				w.mu.Lock()
				defer w.mu.Unlock()
				w.events = append(w.events, i)
				return nil
			})
			select {
			case <-ctx.Done():
			case <-time.After(100 * time.Millisecond):
			}
		}
	}()
	return w
}

// saw waits for an event.
func (w *watched) saw(t *testing.T, what string, match func(sdk.Instance) bool) sdk.Instance {
	t.Helper()
	var found sdk.Instance
	eventually(t, "Watch reports "+what, func() bool {
		w.mu.Lock()
		defer w.mu.Unlock()
		for _, i := range w.events {
			if match(i) {
				found = i
				return true
			}
		}
		return false
	})
	return found
}

// healths collects what Probe says.
func (r *rig) probe() func() sdk.Health {
	r.Helper()
	var mu sync.Mutex
	var last sdk.Health
	ctx, cancel := context.WithCancel(context.Background())
	r.Cleanup(cancel)
	go func() {
		_ = r.driver.Probe(ctx, func(h sdk.Health) error {
			mu.Lock()
			defer mu.Unlock()
			last = h
			return nil
		})
	}()
	return func() sdk.Health {
		mu.Lock()
		defer mu.Unlock()
		return last
	}
}
