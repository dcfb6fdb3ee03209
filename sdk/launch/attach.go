package launch

import (
	"context"
	"errors"
	"fmt"
	"net"
	"strconv"
	"time"

	"github.com/hashicorp/go-hclog"
	"github.com/hashicorp/go-plugin"
	"github.com/hashicorp/go-plugin/runner"

	"github.com/instarhq/instar/sdk/wire"
)

// ErrGone says that the process that a State describes does not run any more, whatever has its pid now.
var ErrGone = errors.New("the process is gone")

// pollInterval is how often we look whether a process that is not our child still lives, where the kernel
// does not tell. Its broken connection tells earlier, as a rule.
const pollInterval = 200 * time.Millisecond

// Alive reports whether the process of the state runs; another one with the same pid does not count.
func (s State) Alive() bool {
	boot, err := bootID()
	if err != nil || boot != s.Boot {
		return false
	}
	started, err := startTime(s.PID)
	return err == nil && started == s.Started
}

// awaitGone waits until the process has ended.
func (s State) awaitGone(ctx context.Context) error {
	tick := time.NewTicker(pollInterval / 10)
	defer tick.Stop()
	for s.Alive() {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-tick.C:
		}
	}
	return nil
}

// Attach connects to a running process, and proves by the pinned certificates that it is the one that was
// launched. ErrGone if it does not run any more.
func Attach(ctx context.Context, s State, logger hclog.Logger) (*Process, error) {
	if !s.Alive() {
		return nil, ErrGone
	}
	if logger == nil {
		logger = hclog.NewNullLogger()
	}
	set, ok := wire.ClientPlugins()[s.Protocol]
	if !ok {
		return nil, fmt.Errorf("process %d speaks driver protocol %d, which this version does not", s.PID, s.Protocol)
	}
	config, err := clientConfig(s.Dir, logger)
	if err != nil {
		return nil, err
	}
	r := &attached{state: s, done: make(chan struct{}), left: make(chan struct{})}
	addr := &net.UnixAddr{Name: s.Socket, Net: "unix"}
	config.Plugins = set // go-plugin resolves VersionedPlugins only in a handshake
	config.Reattach = &plugin.ReattachConfig{
		Protocol: plugin.ProtocolGRPC, ProtocolVersion: s.Protocol, Addr: addr, Pid: s.PID,
		ReattachFunc: func() (runner.AttachedRunner, error) { return r, nil },
	}
	p := &Process{state: s, done: r.done, exit: r.exit, left: r.left}
	go r.watch()
	if err := p.connect(ctx, plugin.NewClient(config)); err != nil {
		p.Detach()
		return nil, err
	}
	if err := p.Ping(ctx); err != nil {
		p.Detach()
		return nil, fmt.Errorf("process %d: %w", s.PID, err)
	}
	return p, nil
}

// attached is a process that somebody else has started, as go-plugin wants to see it.
type attached struct {
	state State
	done  chan struct{} // closed when the process is gone
	left  chan struct{} // closed when nobody cares any more
}

// watch looks for the end of a process that no wait call can report.
func (a *attached) watch() {
	if !a.state.awaitEnd(a.left) {
		a.poll()
	}
	if !a.state.Alive() {
		close(a.done)
	}
}

// poll returns when the process has ended or nobody cares any more.
func (a *attached) poll() {
	tick := time.NewTicker(pollInterval)
	defer tick.Stop()
	for a.state.Alive() {
		select {
		case <-a.left:
			return
		case <-tick.C:
		}
	}
}

func (a *attached) exit() string {
	select {
	case <-a.done:
		return "ended; its status is unknown, because another daemon had launched it"
	default:
		return ""
	}
}

// Wait implements runner.AttachedRunner.
func (a *attached) Wait(ctx context.Context) error {
	select {
	case <-a.done:
		return nil
	case <-a.left:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// Kill implements runner.AttachedRunner. Nothing here lets go-plugin kill a driver; Stop does it in order.
func (a *attached) Kill(context.Context) error {
	return errors.New("an attached driver is ended by Process.Stop")
}

// ID implements runner.AttachedRunner.
func (a *attached) ID() string { return strconv.Itoa(a.state.PID) }

// PluginToHost implements runner.AddrTranslator.
func (a *attached) PluginToHost(network, addr string) (string, string, error) {
	return network, addr, nil
}

// HostToPlugin implements runner.AddrTranslator.
func (a *attached) HostToPlugin(network, addr string) (string, string, error) {
	return network, addr, nil
}
