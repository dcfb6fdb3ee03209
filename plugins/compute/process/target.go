package process

import (
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/hashicorp/go-hclog"
	"golang.org/x/sys/unix"

	"github.com/instarhq/instar/plugins/compute/process/artifact"
	"github.com/instarhq/instar/plugins/compute/process/cgroup"
	"github.com/instarhq/instar/plugins/compute/process/logfile"
	"github.com/instarhq/instar/plugins/compute/process/port"
	"github.com/instarhq/instar/plugins/durable"
	"github.com/instarhq/instar/plugins/keyed"
	"github.com/instarhq/instar/sdk"
	"github.com/instarhq/instar/sdk/serve"
)

// target is one configured target: a state directory and all that is in it.
type target struct {
	name   string
	given  string // the state directory as it was given
	dir    string // the same without symbolic links
	lock   *os.File
	logger hclog.Logger

	store  *artifact.Store
	ports  *port.Pool
	users  *users
	groups *cgroup.Root
	logs   *logfile.Keeper
	hub    *hub
	view   viewSupport

	work     keyed.Mutex  // Create and Destroy of one id, one at a time
	inUse    sync.RWMutex // read: a tree is being put to use; write: unused trees are being removed
	programs programs

	life    context.Context // ends when the target is let go
	leave   context.CancelCauseFunc
	busy    sync.WaitGroup // calls that change something
	waiting sync.WaitGroup // goroutines that wait for processes

	mu        sync.RWMutex
	config    targetConfig
	seen      generations
	instances map[string]*instance
}

// generations is the highest generation seen, by cluster; it is kept in the file of that name.
type generations map[string]uint64

const generationsFile = "generations.json"

// openTarget takes a state directory and everything that an earlier process left running there.
func openTarget(ctx context.Context, req sdk.ConfigureRequest, cfg targetConfig) (_ *target, err error) {
	dir, err := filepath.EvalSymlinks(req.StateDir)
	if err != nil {
		return nil, fmt.Errorf("state directory: %w", err)
	}
	if dir, err = filepath.Abs(dir); err != nil {
		return nil, err
	}
	t := &target{
		name: req.Target, given: req.StateDir, dir: dir, logger: serve.Logger("process"),
		users: &users{owners: map[int]string{}}, hub: newHub(), programs: programs{seen: map[string]programSeen{}},
		seen: generations{}, instances: map[string]*instance{},
	}
	t.life, t.leave = context.WithCancelCause(context.Background())
	if t.lock, err = takeState(ctx, dir); err != nil {
		return nil, err
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, t.close(ctx))
		}
	}()
	if err := t.layOut(); err != nil {
		return nil, durable.Explain(err, dir)
	}
	if t.logs, err = logfile.NewKeeper(); err != nil {
		return nil, err
	}
	if t.store, err = artifact.Open(filepath.Join(dir, "artifacts"), cfg.limits()); err != nil {
		return nil, err
	}
	t.ports = port.NewPool()
	t.groups = cgroup.Open(t.groupName(req.Target))
	t.view = probeView()
	if err := t.reconfigure(req, cfg); err != nil {
		return nil, err
	}
	err = t.adoptAll(req.Cluster)
	return t, err
}

func (c targetConfig) limits() artifact.Limits {
	return artifact.Limits{Bytes: c.MaxBytes, Entries: c.MaxEntries, Sources: c.Sources}
}

// takeState makes sure that no other process acts on the same state: one that is just ending gets a
// moment.
func takeState(ctx context.Context, dir string) (*os.File, error) {
	lock, err := os.OpenFile(filepath.Join(dir, "lock"), os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, durable.Explain(err, dir)
	}
	for deadline := time.Now().Add(3 * time.Second); ; {
		err := unix.Flock(int(lock.Fd()), unix.LOCK_EX|unix.LOCK_NB)
		if err == nil {
			return lock, nil
		}
		if !errors.Is(err, unix.EWOULDBLOCK) {
			return nil, errors.Join(fmt.Errorf("lock %s: %w", dir, err), lock.Close())
		}
		select {
		case <-ctx.Done():
			return nil, errors.Join(context.Cause(ctx), lock.Close())
		case <-time.After(20 * time.Millisecond):
		}
		if time.Now().After(deadline) {
			return nil, errors.Join(sdk.Unavailable(time.Second,
				"another process of this driver has the state in %s; end it, or wait until it has ended", dir), lock.Close())
		}
	}
}

// layOut makes the state directory's folders, which DESIGN.md draws, and checks their format.
func (t *target) layOut() error {
	format := filepath.Join(t.dir, "format")
	data, err := os.ReadFile(format)
	switch want := fmt.Sprintln(layoutFormat); {
	case errors.Is(err, os.ErrNotExist):
		if err := durable.WriteFile(format, []byte(want), 0o600); err != nil {
			return err
		}
	case err != nil:
		return err
	case string(data) != want:
		return fmt.Errorf("%s says %q; this driver knows %d: use the driver that wrote it, or a newer one",
			format, strings.TrimSpace(string(data)), layoutFormat)
	}
	// Instances pass through, and cannot list.
	for folder, mode := range map[string]os.FileMode{"instances": 0o711, "tombstones": 0o700} {
		path := filepath.Join(t.dir, folder)
		if err := errors.Join(os.MkdirAll(path, mode), os.Chmod(path, mode)); err != nil {
			return err
		}
	}
	err = durable.ReadJSON(filepath.Join(t.dir, generationsFile), &t.seen)
	if errors.Is(err, os.ErrNotExist) {
		return nil
	}
	return err
}

// groupName is the same for the same state directory, and another for every other one on the machine.
func (t *target) groupName(target string) string {
	sum := sha256.Sum256([]byte(t.dir))
	return target + "-" + hex.EncodeToString(sum[:4])
}

// reconfigure applies a configuration to what happens from now on.
func (t *target) reconfigure(req sdk.ConfigureRequest, cfg targetConfig) error {
	if err := t.observe(req.Cluster, req.Generation); err != nil {
		return err
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	t.config = cfg
	// Beginning anywhere keeps what was given back lately, and what other targets on this machine have
	// given out, from being the next.
	t.ports.SetRange(cfg.PortRange.Range, rand.Int())
	t.users.setRange(cfg.UIDRange, rand.Int())
	t.store.SetLimits(cfg.limits())
	return nil
}

// observe refuses a generation that is older than one seen before, and remembers a newer one.
func (t *target) observe(cluster string, generation uint64) error {
	t.mu.Lock()
	defer t.mu.Unlock()
	if seen := t.seen[cluster]; generation < seen {
		return sdk.Conflict("generation %d of cluster %s is older than %d, which was seen before", generation, cluster, seen)
	} else if generation == seen {
		return nil
	}
	t.seen[cluster] = generation
	return durable.Explain(durable.WriteJSON(filepath.Join(t.dir, generationsFile), t.seen), t.dir)
}

func (t *target) settings() targetConfig {
	t.mu.RLock()
	defer t.mu.RUnlock()
	return t.config
}

// find returns an instance, or NotFound.
func (t *target) find(id string) (*instance, error) {
	t.mu.RLock()
	defer t.mu.RUnlock()
	if i := t.instances[id]; i != nil {
		return i, nil
	}
	return nil, sdk.NotFound("there is no instance %q", id)
}

// all returns the instances, in the order of their ids.
func (t *target) all() []*instance {
	t.mu.RLock()
	defer t.mu.RUnlock()
	list := make([]*instance, 0, len(t.instances))
	for _, i := range t.instances {
		list = append(list, i)
	}
	slices.SortFunc(list, func(a, b *instance) int { return cmp.Compare(a.rec.ID, b.rec.ID) })
	return list
}

func (t *target) add(i *instance) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.instances[i.rec.ID] = i
}

func (t *target) drop(id string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	delete(t.instances, id)
}

func (t *target) instanceDir(id string) string { return filepath.Join(t.dir, "instances", id) }

// begin notes that a call is under way which changes something; its context ends also when the target is
// let go.
func (t *target) begin(ctx context.Context) (_ context.Context, done func(), err error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.life.Err() != nil {
		return nil, nil, context.Cause(t.life)
	}
	t.busy.Add(1)
	ctx, cancel := context.WithCancelCause(ctx)
	detach := context.AfterFunc(t.life, func() { cancel(context.Cause(t.life)) })
	return ctx, func() { detach(); cancel(nil); t.busy.Done() }, nil
}

// errEnding is what calls end with when the driver does.
var errEnding = sdk.Unavailable(time.Second, "the driver is ending")

// settled waits until no call is under way, or until ctx ends.
func (t *target) settled(ctx context.Context) error {
	quiet := make(chan struct{})
	go func() { t.busy.Wait(); close(quiet) }()
	select {
	case <-quiet:
		return nil
	case <-ctx.Done():
		return fmt.Errorf("calls are still under way: %w", context.Cause(ctx))
	}
}

// close lets go of everything that belongs to this process, when the calls that change something have
// ended: the next process must find nothing that moves. Instances go on.
func (t *target) close(ctx context.Context) error {
	t.mu.Lock()
	t.leave(errEnding)
	t.mu.Unlock()
	errs := []error{t.settled(ctx)}
	for _, i := range t.all() {
		errs = append(errs, i.letGo())
	}
	t.waiting.Wait()
	t.hub.close()
	if t.groups != nil {
		t.groups.Close()
	}
	if t.logs != nil {
		errs = append(errs, t.logs.Close())
	}
	return errors.Join(append(errs, t.lock.Close())...)
}
