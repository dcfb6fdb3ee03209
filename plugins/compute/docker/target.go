package docker

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"github.com/hashicorp/go-hclog"
	"golang.org/x/sys/unix"

	"github.com/instarhq/instar/plugins/durable"
	"github.com/instarhq/instar/plugins/keyed"
	"github.com/instarhq/instar/sdk"
	"github.com/instarhq/instar/sdk/serve"
)

// layoutFormat is the format number of the state directory.
const layoutFormat = 1

// target is one configured target: a state directory and an engine.
type target struct {
	name   string
	node   string
	given  string // the state directory as it was given
	dir    string // the same without symbolic links
	lock   *os.File
	logger hclog.Logger

	engine  engine
	hub     *hub
	link    *link
	work    keyed.Mutex  // Create and Destroy of one id, one at a time
	pulls   keyed.Mutex  // one pull of an image at a time
	images  sync.RWMutex // read: an image is being put to use; write: unused images are being removed
	records sync.Mutex   // the instances' records are being changed
	life    context.Context
	leave   context.CancelCauseFunc
	busy    sync.WaitGroup // calls
	loops   sync.WaitGroup // goroutines of the target's own

	mu     sync.RWMutex
	config targetConfig
	seen   generations
	about  about // the engine

	knownMu sync.Mutex
	known   known
}

// generations is the highest generation seen, by cluster; it is kept in the file of that name.
type generations map[string]uint64

const generationsFile = "generations.json"

// openTarget takes a state directory and begins to follow the engine, as soon as there is one.
func openTarget(ctx context.Context, req sdk.ConfigureRequest, cfg targetConfig, e endpoint) (_ *target, err error) {
	dir, err := filepath.EvalSymlinks(req.StateDir)
	if err != nil {
		return nil, fmt.Errorf("state directory: %w", err)
	}
	if dir, err = filepath.Abs(dir); err != nil {
		return nil, err
	}
	t := &target{
		name: req.Target, given: req.StateDir, dir: dir, logger: serve.Logger("docker"),
		hub: newHub(), link: newLink(), seen: generations{}, known: known{},
	}
	t.life, t.leave = context.WithCancelCause(context.Background())
	if t.lock, err = takeState(ctx, dir); err != nil {
		return nil, err
	}
	if err = t.layOut(); err == nil {
		err = t.reconfigure(req, cfg, e)
	}
	if err != nil {
		return nil, errors.Join(durable.Explain(err, dir), t.lock.Close())
	}
	t.loops.Go(t.follow)
	return t, nil
}

// takeState makes sure that no other process acts on the same state: one that is just ending gets a moment.
func takeState(ctx context.Context, dir string) (*os.File, error) {
	lock, err := os.OpenFile(filepath.Join(dir, "lock"), os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, durable.Explain(err, dir)
	}
	for deadline := time.Now().Add(3 * time.Second); ; {
		err := unix.Flock(int(lock.Fd()), unix.LOCK_EX|unix.LOCK_NB)
		switch {
		case err == nil:
			return lock, nil
		case !errors.Is(err, unix.EWOULDBLOCK):
			return nil, errors.Join(fmt.Errorf("lock %s: %w", dir, err), lock.Close())
		case time.Now().After(deadline):
			return nil, errors.Join(sdk.Unavailable(time.Second,
				"another process of this driver has the state in %s; end it, or wait until it has ended", dir), lock.Close())
		}
		if err := pause(ctx, 20*time.Millisecond); err != nil {
			return nil, errors.Join(err, lock.Close())
		}
	}
}

// pause waits, or returns the cause of ctx's end.
func pause(ctx context.Context, d time.Duration) error {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
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
	for _, folder := range []string{instancesDir, tombstonesDir, imagesDir} {
		if err := os.MkdirAll(filepath.Join(t.dir, folder), 0o700); err != nil {
			return err
		}
	}
	err = durable.ReadJSON(filepath.Join(t.dir, generationsFile), &t.seen)
	if errors.Is(err, os.ErrNotExist) {
		return nil
	}
	return err
}

// reconfigure applies a configuration to what happens from now on.
func (t *target) reconfigure(req sdk.ConfigureRequest, cfg targetConfig, e endpoint) error {
	t.mu.Lock()
	defer t.mu.Unlock()
	if err := t.observe(req.Cluster, req.Generation); err != nil {
		return err
	}
	t.node, t.config = req.Node, cfg
	t.engine.move(e)
	t.link.poke()
	return nil
}

// observe refuses a generation that is older than one seen before, and remembers a newer one.
func (t *target) observe(cluster string, generation uint64) error {
	seen, known := t.seen[cluster]
	if generation < seen {
		return sdk.Conflict("generation %d of cluster %s is older than %d, which was seen before", generation, cluster, seen)
	}
	if known && generation == seen {
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

// clusters are those that the target has worked for.
func (t *target) clusters() []string {
	t.mu.RLock()
	defer t.mu.RUnlock()
	names := make([]string, 0, len(t.seen))
	for name := range t.seen {
		names = append(names, name)
	}
	return names
}

// errEnding is what calls end with when the driver does.
var errEnding = sdk.Unavailable(time.Second, "the driver is ending")

// begin notes that a call is under way; its context ends also when the target is let go.
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

// close lets go of everything that belongs to this process, when the calls under way have ended: the next
// process must find nothing that moves. Instances go on.
func (t *target) close(ctx context.Context) error {
	t.mu.Lock()
	t.leave(errEnding)
	t.mu.Unlock()
	quiet := make(chan struct{})
	go func() { t.busy.Wait(); t.loops.Wait(); close(quiet) }()
	var err error
	select {
	case <-quiet:
	case <-ctx.Done():
		err = fmt.Errorf("calls are still under way: %w", context.Cause(ctx))
	}
	t.engine.renew()
	return errors.Join(err, t.lock.Close())
}
