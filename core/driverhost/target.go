package driverhost

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"time"

	"github.com/hashicorp/go-hclog"

	"github.com/instarhq/instar/core"
)

// target is one configured driver and its process. Its directory holds
//
//	state/        what the driver keeps; survives every process
//	process.json  how to attach to the process (see record)
//	launch/ID/    keys of one launch
//	log, log.1    standard error of the process
//
// supervise is the only writer of files and of current.
type target struct {
	host *Host
	key  targetKey
	dir  string
	log  hclog.Logger
	wake chan struct{} // a configuration waits to be applied

	upgrade upgradePlan // used by supervise alone

	mu      sync.Mutex
	config  json.RawMessage
	version int // counts the configurations
	waiters []waiter
	current *session // nil: away
	status  core.Target
	// launches and failures count since this Host was made: processes started, and lives that ended badly.
	launches, failures uint64
	// driver is what the last process said of itself, driverUp when it became current; zero: there was none.
	driver   core.Driver
	driverUp time.Time
}

// waiter waits for the first attempt with a configuration.
type waiter struct {
	version int
	result  chan error
}

func newTarget(h *Host, key targetKey) (*target, error) {
	t := &target{
		host: h, key: key, dir: filepath.Join(h.cfg.StateDir, "targets", key.dir()),
		log: h.log.With("kind", string(key.kind), "driver", key.driver, "target", key.name), wake: make(chan struct{}, 1),
		status: core.Target{Kind: key.kind, Driver: key.driver, Name: key.name, Reason: "starting"},
	}
	if err := errors.Join(os.MkdirAll(t.stateDir(), 0o700), os.MkdirAll(t.launchRoot(), 0o700)); err != nil {
		return nil, fmt.Errorf("%s: %w", key, err)
	}
	return t, nil
}

func (t *target) stateDir() string   { return filepath.Join(t.dir, "state") }
func (t *target) launchRoot() string { return filepath.Join(t.dir, "launch") }

// configured hands in a configuration; the channel yields the outcome of the first attempt with it.
func (t *target) configured(config json.RawMessage) <-chan error {
	result := make(chan error, 1)
	t.mu.Lock()
	t.version++
	t.config = config
	t.waiters = append(t.waiters, waiter{t.version, result})
	t.mu.Unlock()
	wake(t.wake)
	return result
}

// wanted is the configuration to apply.
func (t *target) wanted() (json.RawMessage, int) {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.config, t.version
}

// attempted tells everybody who waits for this or an older configuration how it went.
func (t *target) attempted(version int, err error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	waiting := t.waiters[:0]
	for _, w := range t.waiters {
		if w.version > version {
			waiting = append(waiting, w)
			continue
		}
		w.result <- err
	}
	t.waiters = waiting
}

// snapshot is the target as of now.
func (t *target) snapshot() core.Target {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.status
}

// setStatus publishes a status and wakes the readers if it is news.
func (t *target) setStatus(change func(*core.Target)) {
	t.mu.Lock()
	before := t.status
	change(&t.status)
	if t.status.Healthy {
		t.status.Reason = ""
	}
	after := t.status
	t.mu.Unlock()
	if before == after {
		return
	}
	if before.Healthy != after.Healthy || before.Reason != after.Reason {
		t.log.Info("target", "healthy", after.Healthy, "reason", after.Reason)
	}
	t.host.notify()
}
