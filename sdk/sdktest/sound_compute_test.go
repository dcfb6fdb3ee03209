package sdktest_test

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/zclconf/go-cty/cty"

	"github.com/instarhq/instar/sdk"
)

// soundCompute is a compute driver that keeps the whole contract, at a world; fault is the one thing that is wrong
// with it where it must fail. What it must remember is in its state directory, so that it can be killed and reopened.
type soundCompute struct {
	fault string
	world *world
	lab   *lab
	dead  atomic.Bool // the process was killed: nothing that it still does reaches anything
	lost  atomic.Bool // the world did not answer once; only faults look at it

	work    sync.Mutex // one Create or Destroy at a time
	mu      sync.Mutex
	dir     string
	cluster string
	made    map[string]int // Creates by id; only faults look at it

	watchEnded atomic.Bool // only faults look at it
	late       sync.Map    // things that a cancelled Create still makes, by id; only a fault has them
}

var instanceSchema = sdk.Schema{
	{Name: "behaviour", Type: cty.String, Default: cty.StringVal("runs"), Doc: "What the instance does."},
	{Name: "key", Type: cty.String, Sensitive: true, Doc: "What clients have to show."},
	{Name: "size", Type: cty.Number, Doc: "Anything."},
}

func (d *soundCompute) is(fault string) bool { return d.fault == fault }

// Describe implements sdk.Driver.
func (d *soundCompute) Describe(context.Context) (sdk.Description, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.made == nil && d.is("describes itself only when it is configured") {
		return sdk.Description{}, sdk.Unavailable(time.Second, "not configured yet")
	}
	return d.lab.spoil(sdk.Description{
		Name: "sound", Version: "1.0.0", Kind: sdk.KindCompute, Scope: sdk.ScopeNode, Doc: "A driver that keeps its contract.",
		Capabilities: []sdk.Capability{sdk.CapLogs, sdk.CapUsage, sdk.CapArtifacts}, Target: targetSchema, Workload: instanceSchema,
	}), nil
}

// Configure implements sdk.Driver.
func (d *soundCompute) Configure(_ context.Context, req sdk.ConfigureRequest) error {
	if err := d.lab.configure(req.Config); err != nil {
		return err
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	d.dir, d.cluster = req.StateDir, req.Cluster
	path := filepath.Join(d.dir, "generation")
	data, err := os.ReadFile(path)
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		return err
	}
	seen, _ := strconv.ParseUint(string(data), 10, 64)
	if d.is("forgets the generation of the cluster at restart") && d.made == nil {
		seen = 0
	}
	if d.made == nil {
		d.made = map[string]int{}
	}
	if req.Generation < seen && !d.is("accepts an older generation of the cluster") {
		return sdk.Conflict("generation %d is older than %d", req.Generation, seen)
	}
	if d.is("configure ends what runs") {
		for _, t := range d.world.of(d.cluster) {
			d.world.remove(t.name)
		}
	}
	return os.WriteFile(path, []byte(strconv.FormatUint(req.Generation, 10)), 0o600)
}

// Probe implements sdk.Driver.
func (d *soundCompute) Probe(ctx context.Context, report func(sdk.Health) error) error {
	return d.lab.probe(ctx, func() bool { return d.world.call(ctx) == nil }, report)
}

// call is the way to the world, for a process that lives.
func (d *soundCompute) call(ctx context.Context) error {
	if d.is("blocks on cancel") {
		ctx = context.WithoutCancel(ctx)
	}
	if err := d.world.call(ctx); err != nil {
		d.lost.Store(d.lost.Load() || sdk.CodeOf(err) == sdk.CodeUnavailable)
		return err
	}
	if d.dead.Load() {
		return errKilled
	}
	return nil
}

// name is what an instance is called at the world: unique for all clusters.
func (d *soundCompute) name(id string) string { return d.cluster + "/" + id }

// buried reports whether an instance was destroyed.
func (d *soundCompute) buried(id string) bool {
	_, err := os.Stat(d.tombstone(id))
	return err == nil && !d.is("forgets what was destroyed")
}

func (d *soundCompute) tombstone(id string) string {
	return filepath.Join(d.dir, "gone-"+strings.TrimPrefix(sum(id), "sha256:"))
}

// read is a thing as the contract has it.
func (d *soundCompute) read(t thing) sdk.Instance {
	i := t.labels
	i.State = sdk.StateCreating
	if t.started {
		i.State = sdk.StateRunning
	}
	if t.exit != nil {
		i.State, i.Exit = sdk.StateExited, t.exit
	}
	i.Fingerprint = fingerprintOf(t)
	switch d.fault {
	case "the fingerprint never changes":
		i.Fingerprint = sum(t.spec.RevisionDigest)
	case "the fingerprint does not see a hand":
		t.hand = 0
		i.Fingerprint = fingerprintOf(t)
	case "the fingerprint changes by itself":
		i.Fingerprint = sum(fmt.Sprint(time.Now()))
	case "gives every instance the same address":
		i.Addresses = map[string]string{}
		for _, p := range t.spec.Ports {
			i.Addresses[p.Name] = "127.0.0.1:20000"
		}
	case "forgets labels":
		i.Service, i.RevisionDigest = "", ""
	case "shows what it was given":
		i.Fingerprint = fmt.Sprint(t.env)
	}
	return i
}

func fingerprintOf(t thing) string {
	data, err := json.Marshal(t.spec)
	if err != nil {
		return err.Error()
	}
	return sum(string(data) + strings.Repeat("!", t.hand))
}

// errPlain is an error of no code, and newTime a text of no other time.
var errPlain = errors.New("something is wrong")

func newTime() string { return time.Now().String() }

func sum(text string) string {
	s := sha256.Sum256([]byte(text))
	return "sha256:" + hex.EncodeToString(s[:])
}
