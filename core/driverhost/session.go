package driverhost

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/instarhq/instar/core"
	"github.com/instarhq/instar/sdk"
	"github.com/instarhq/instar/sdk/launch"
)

// session is one process of a target while it is connected.
type session struct {
	proc   *launch.Process
	driver sdk.Driver
	desc   sdk.Description
	timing timing
	path   string // of the binary, when it was launched
	digest core.Digest
	up     time.Time   // when it was configured
	public core.Driver // desc as the other nodes see it

	ctx    context.Context // ends with the session; streams end with it
	cancel context.CancelFunc
	calls  sync.WaitGroup // calls under way; Add only under target.mu while the session is current
	probes sync.WaitGroup

	mu      sync.Mutex
	health  sdk.Health // last report of Probe
	trouble map[string]string
}

// Sources of trouble, of which the first one that there is becomes the target's reason.
var troubles = []string{"configure", "ping", "probe"}

// newSession asks a process what it is, and refuses one that is not the driver of its file name.
func newSession(ctx context.Context, t *target, proc *launch.Process, path string, digest core.Digest) (*session, error) {
	driver, err := proc.Driver(sdk.Kind(t.key.kind))
	if err != nil {
		return nil, err
	}
	s := &session{proc: proc, driver: driver, timing: t.host.timing, path: path, digest: digest, trouble: map[string]string{}}
	if s.desc, err = describe(ctx, driver, t.key.kind, t.key.driver, s.timing.describe); err != nil {
		return nil, err
	}
	if s.public, err = Driver(s.desc, proc.State().Protocol); err != nil {
		return nil, err
	}
	s.public = t.host.identified(s.public, path, digest)
	s.ctx, s.cancel = context.WithCancel(context.Background())
	s.setTrouble("probe", "not probed yet")
	return s, nil
}

// describe reads and checks a description.
func describe(ctx context.Context, driver sdk.Driver, kind core.DriverKind, name string, limit time.Duration) (sdk.Description, error) {
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	d, err := driver.Describe(ctx)
	if errors.Is(err, context.DeadlineExceeded) {
		return d, fmt.Errorf("it did not answer Describe within %s", limit)
	}
	if err != nil {
		return d, fmt.Errorf("Describe: %w", err)
	}
	if string(d.Kind) != string(kind) || d.Name != name {
		return d, fmt.Errorf("%s says that it is the %s driver %q: the file's name must be %s",
			binaryName(kind, name), d.Kind, d.Name, binaryName(core.DriverKind(d.Kind), d.Name))
	}
	if d.Version == "" {
		return d, errors.New("its description has no version")
	}
	if d.Scope != sdk.ScopeNode && d.Scope != sdk.ScopeCluster {
		return d, fmt.Errorf("its description has scope %q: it is node or cluster", d.Scope)
	}
	if err := errors.Join(d.Target.Validate(), d.Workload.Validate()); err != nil {
		return d, fmt.Errorf("its description has a wrong schema: %w", err)
	}
	return d, nil
}

// configure binds the process to the target.
func (s *session) configure(ctx context.Context, req sdk.ConfigureRequest) error {
	ctx, cancel := context.WithTimeout(ctx, s.timing.configure)
	defer cancel()
	err := s.driver.Configure(ctx, req)
	if errors.Is(err, context.DeadlineExceeded) {
		return fmt.Errorf("it did not answer Configure within %s: %w", s.timing.configure, err)
	}
	return err
}

// setTrouble notes or, with an empty text, clears one source of trouble.
func (s *session) setTrouble(source, text string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if text == "" {
		delete(s.trouble, source)
		return
	}
	s.trouble[source] = text
}

// state is the target's state as far as this process knows.
func (s *session) state() (health sdk.Health) {
	s.mu.Lock()
	defer s.mu.Unlock()
	health = s.health
	for _, source := range troubles {
		if text, ok := s.trouble[source]; ok {
			health.Healthy, health.Reason = false, text
			return health
		}
	}
	if !health.Healthy && health.Reason == "" {
		health.Reason = "the driver reports that it is not healthy, and gives no reason"
	}
	return health
}

// leave ends the session and lets the process run.
func (s *session) leave() {
	s.cancel()
	s.probes.Wait()
	s.proc.Detach()
}

// stop ends the session and the process.
func (s *session) stop() error {
	ctx, cancel := context.WithTimeout(context.Background(), s.timing.stop)
	defer cancel()
	s.cancel()
	err := s.proc.Stop(ctx)
	s.probes.Wait()
	return err
}
