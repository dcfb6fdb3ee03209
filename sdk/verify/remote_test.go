package verify_test

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"hash/crc32"
	"net/http"
	"os"
	"path"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/zclconf/go-cty/cty"

	"github.com/instarhq/instar/sdk"
)

// remote is a compute driver at a warehouse. It keeps the whole contract, but for the fault that its target's
// configuration asks for.
type remote struct {
	dir, fault, cluster string
}

var (
	remoteTarget = sdk.Schema{
		{Name: "dir", Type: cty.String, Required: true, Doc: "Where the warehouse is."},
		{Name: "fault", Type: cty.String, Doc: "What is wrong with this driver."},
		{Name: "password", Type: cty.String, Sensitive: true, Doc: "For nobody."},
	}
	remoteWorkload = sdk.Schema{
		{Name: "behaviour", Type: cty.String, Default: cty.StringVal("runs"), Doc: "What the instance does."},
		{Name: "key", Type: cty.String, Sensitive: true, Doc: "For nobody."},
	}
)

// Describe implements sdk.Driver.
func (d *remote) Describe(context.Context) (sdk.Description, error) {
	return sdk.Description{
		Name: "remote", Version: "1.0.0", Kind: sdk.KindCompute, Scope: sdk.ScopeNode, Doc: "Things in a warehouse.",
		Capabilities: []sdk.Capability{sdk.CapLogs, sdk.CapUsage}, Target: remoteTarget, Workload: remoteWorkload,
	}, nil
}

// Configure implements sdk.Driver.
func (d *remote) Configure(_ context.Context, req sdk.ConfigureRequest) error {
	var config struct {
		Dir      string `json:"dir"`
		Fault    string `json:"fault"`
		Password string `json:"password"`
	}
	if err := sdk.Decode(remoteTarget, req.Config, &config); err != nil {
		return err
	}
	file := filepath.Join(req.StateDir, "generation")
	data, err := os.ReadFile(file)
	if err != nil && !os.IsNotExist(err) {
		return err
	}
	if seen, _ := strconv.ParseUint(string(data), 10, 64); req.Generation < seen {
		return sdk.Conflict("generation %d is older than %d", req.Generation, seen)
	}
	d.dir, d.fault, d.cluster = config.Dir, config.Fault, req.Cluster
	return os.WriteFile(file, []byte(strconv.FormatUint(req.Generation, 10)), 0o600)
}

// call asks the warehouse.
func (d *remote) call(ctx context.Context, method, cluster, id string, body, answer any) (int, error) {
	if d.fault == "names things anew each time" && method == http.MethodPut {
		id += "-" + strconv.FormatInt(time.Now().UnixNano(), 10)
	}
	return call(ctx, d.dir, method, cluster, id, body, answer)
}

// Probe implements sdk.Driver.
func (d *remote) Probe(ctx context.Context, report func(sdk.Health) error) error {
	for first, said := true, false; ; first = false {
		_, err := d.things(ctx, d.cluster)
		h := sdk.Health{Healthy: err == nil || d.fault == "healthy without its backend"}
		if !h.Healthy {
			h.Reason = err.Error()
		}
		if first || h.Healthy != said {
			said = h.Healthy
			if err := report(h); err != nil {
				return err
			}
		}
		if err := pause(ctx, 20*time.Millisecond); err != nil {
			return err
		}
	}
}

func pause(ctx context.Context, d time.Duration) error {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-timer.C:
		return nil
	}
}

// Resolve implements sdk.Compute.
func (d *remote) Resolve(_ context.Context, a sdk.Artifact) (sdk.Artifact, error) {
	switch a.Source {
	case "":
		return a, sdk.InvalidConfig("artifact.source", "it is empty")
	case "missing":
		return a, sdk.NotFound("there is no %s", a.Source)
	}
	a.Digest = sum([]byte(a.Source))
	if a.Checksum != "" && a.Checksum != a.Digest {
		return a, sdk.InvalidConfig("artifact.checksum", "%s has %s", a.Source, a.Digest)
	}
	return a, nil
}

func sum(data []byte) string {
	sum := sha256.Sum256(data)
	return "sha256:" + hex.EncodeToString(sum[:])
}

// Fetch implements sdk.Compute.
func (d *remote) Fetch(context.Context, sdk.Artifact, func(sdk.FetchProgress)) error { return nil }

// Prune implements sdk.Compute.
func (d *remote) Prune(context.Context, []string) (int64, error) { return 0, nil }

// Create implements sdk.Compute.
func (d *remote) Create(ctx context.Context, spec sdk.InstanceSpec) (sdk.Instance, error) {
	made, err := d.imagine(spec)
	if err != nil {
		return sdk.Instance{}, err
	}
	var found []byte
	status, err := d.call(ctx, http.MethodPut, spec.Cluster, spec.ID, made, &found)
	if err != nil {
		return sdk.Instance{}, err
	}
	switch status {
	case http.StatusGone:
		return sdk.Instance{}, sdk.Conflict("instance %s was destroyed", spec.ID)
	case http.StatusUnprocessableEntity:
		if d.fault == "leaves what could not start" {
			made.Behaviour, made.Instance.Cluster = "runs", "nobody's"
			if _, err := d.call(ctx, http.MethodPut, spec.Cluster, spec.ID+"-left", made, &found); err != nil {
				return sdk.Instance{}, err
			}
		}
		return sdk.Instance{}, sdk.InvalidConfig("behaviour", "there is no such program")
	}
	i, _, err := d.read(found)
	if err == nil && i.RevisionDigest != spec.RevisionDigest {
		return i, sdk.Conflict("instance %s exists with revision %s", spec.ID, i.RevisionDigest)
	}
	return i, err
}

// nameless ids are no names of files.
func nameless(id string) bool { return strings.Trim(id, ".") == "" || len(id) > 64 }

// imagine is what the warehouse is to hold for an instance.
func (d *remote) imagine(spec sdk.InstanceSpec) (thing, error) {
	var config struct {
		Behaviour string `json:"behaviour"`
		Key       string `json:"key"`
	}
	if err := sdk.Decode(remoteWorkload, spec.Config, &config); err != nil {
		return thing{}, err
	}
	if nameless(spec.ID) {
		return thing{}, sdk.InvalidConfig("id", "%d characters, or none but dots, are no name of a file", len(spec.ID))
	}
	ports, addresses := map[string]int{}, map[string]string{}
	for _, p := range spec.Ports {
		number := 1024 + int(crc32.ChecksumIEEE([]byte(spec.ID+" "+p.Name))%60000) // nobody listens there
		ports[p.Name], addresses[p.Name] = number, "127.0.0.1:"+strconv.Itoa(number)
	}
	lines := map[string][]string{"talks": {"out 1", "out 2", "out 3", "out 4", "out 5"}, "stubborn": {"stubborn"}}[config.Behaviour]
	for name, value := range spec.Env {
		value, err := sdk.Expand(value, ports, spec.ID)
		if err != nil {
			return thing{}, sdk.InvalidConfig("env."+name, "%w", err)
		}
		if d.fault == "knows ASCII only" {
			value = strings.Map(func(c rune) rune { return c & 0x7f }, value)
		}
		if config.Behaviour == "shows" && name == "CONFORMANCE" {
			lines = strings.Split(value, "\n")
		}
	}
	for _, m := range spec.Mounts {
		if m.Path == "" || path.Clean("/"+m.Path) != "/"+m.Path {
			return thing{}, sdk.InvalidConfig("mount", "path %q leaves the instance", m.Path)
		}
		if config.Behaviour == "shows" && d.fault != "forgets mounts" {
			lines = append(lines, strings.Split(strings.TrimSuffix(string(m.Data), "\n"), "\n")...)
		}
	}
	i := sdk.Instance{
		ID: spec.ID, Cluster: spec.Cluster, Generation: spec.Generation, Service: spec.Service, Revision: spec.Revision,
		RevisionDigest: spec.RevisionDigest, State: sdk.StateRunning, Created: time.Now().UTC(), Addresses: addresses,
	}
	if config.Behaviour == "exits" {
		i.State, i.Exit = sdk.StateExited, &sdk.Exit{Code: 3, Message: "exited with status 3", At: i.Created}
	}
	t := thing{Instance: i, Behaviour: config.Behaviour}
	for _, text := range lines {
		t.Out = append(t.Out, sdk.LogLine{Time: i.Created, Stream: "stdout", Text: text})
	}
	if config.Behaviour == "talks" {
		t.Out = append(t.Out, sdk.LogLine{Time: i.Created, Stream: "stderr", Text: "err 1"})
	}
	return t, nil
}

// read is what the warehouse holds as the contract has it.
func (d *remote) read(data []byte) (sdk.Instance, thing, error) {
	var t thing
	if err := json.Unmarshal(data, &t); err != nil {
		return sdk.Instance{}, t, err
	}
	t.Instance.Fingerprint = sum(data)
	if d.fault == "sees no hand" {
		t.Instance.Fingerprint = sum([]byte(t.Instance.ID))
	}
	return t.Instance, t, nil
}
