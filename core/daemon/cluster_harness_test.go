package daemon_test

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/hashicorp/go-hclog"

	"github.com/instarhq/instar/core"
	"github.com/instarhq/instar/core/api/client"
	"github.com/instarhq/instar/core/daemon"
)

// member is one node of a test's cluster, in this process.
type member struct {
	*testing.T
	name    string
	path    string
	address string // of the cluster, kept over restarts
	change  func(*daemon.Config)

	daemon  *daemon.Daemon
	client  *client.Client     // of the daemon that runs
	cancel  context.CancelFunc // of the start
	started chan struct{}      // closed when Start has returned
	ended   chan error         // gets what Wait gave
}

// newMember makes a node that does not run yet. It has no targets, so there is nothing to tear down.
func newMember(t *testing.T, name string) *member {
	t.Helper()
	parent, err := os.MkdirTemp("", "instar-") //nolint:usetesting // t.TempDir's paths are too long for a socket
	if err != nil {
		t.Fatal(err)
	}
	m := &member{T: t, name: name, path: filepath.Join(parent, name), address: "127.0.0.1:0"}
	t.Cleanup(func() {
		m.stop()
		if err := os.RemoveAll(parent); err != nil {
			t.Error(err)
		}
	})
	return m
}

func (m *member) config() daemon.Config {
	c := daemon.Config{
		DataDir: m.path, Node: m.name, Version: "1.0.0", AutoLock: true,
		Logger: hclog.New(&hclog.LoggerOptions{Name: m.name, Level: hclog.Warn, Output: m.Output()}),
		Membership: &daemon.Membership{
			Listen: m.address, DeadAfter: time.Hour, Every: 50 * time.Millisecond, Stable: 100 * time.Millisecond,
		},
	}
	if m.change != nil {
		m.change(&c)
	}
	return c
}

// run starts the node, and returns when it answers at its socket.
func (m *member) run() {
	m.Helper()
	d, err := daemon.New(m.config())
	if err != nil {
		m.Fatal(err)
	}
	ended := make(chan error, 1)
	ctx, cancel := context.WithCancel(context.Background())
	started := make(chan struct{})
	m.daemon, m.client, m.ended, m.cancel, m.started = d, nil, ended, cancel, started
	go func() {
		err := d.Start(ctx)
		close(started)
		if err == nil {
			err = d.Wait()
		}
		ended <- err
	}()
	m.await("an answer of "+m.name, func() bool {
		select {
		case err := <-ended:
			m.Fatalf("%s ended at its start: %v", m.name, err)
		default:
		}
		_, err := m.api().Health(m.Context())
		return err == nil
	})
	m.address = d.ClusterAddress()
}

// stop ends the node in order.
func (m *member) stop() {
	m.Helper()
	if m.daemon == nil {
		return
	}
	select {
	case <-m.started:
	default:
		m.cancel() // it may wait for what never comes
		<-m.started
	}
	defer m.cancel()
	if err := m.daemon.Close(); err != nil {
		m.Errorf("%s: %v", m.name, err)
	}
	<-m.ended //nolint:errcheck // whoever wants to know asks end
	m.daemon = nil
}

// end waits until the node ends by itself, and gives the reason.
func (m *member) end() error {
	m.Helper()
	select {
	case err := <-m.ended:
		m.ended <- err
		m.stop()
		return err
	case <-time.After(limit):
		m.Fatalf("%s has not ended", m.name)
		return nil
	}
}

// api is one client for as long as a daemon runs: a poll costs a request, and no connection.
func (m *member) api() *client.Client {
	m.Helper()
	if m.client == nil {
		c, err := client.New("unix://" + filepath.Join(m.path, "instar.sock"))
		if err != nil {
			m.Fatal(err)
		}
		m.Cleanup(c.Close)
		m.client = c
	}
	return m.client
}

func (m *member) await(what string, ok func() bool) {
	m.Helper()
	(&dir{T: m.T}).await(what, ok)
}

// ready waits until the node has caught up.
func (m *member) ready() {
	m.Helper()
	m.await(m.name+" is ready", func() bool {
		health, err := m.api().Health(m.Context())
		return err == nil && health.Ready
	})
}

func (m *member) token(want core.JoinTokenRequest) string {
	m.Helper()
	made, err := m.api().CreateJoinToken(m.Context(), client.Write{}, want)
	if err != nil {
		m.Fatal(err)
	}
	return made.Text
}

// join makes the node a member and waits until it is ready.
func (m *member) join(token string) {
	m.Helper()
	if _, err := m.api().ClusterJoin(m.Context(), client.Write{}, token); err != nil {
		m.Fatalf("%s: %v", m.name, err)
	}
	m.ready()
}

// refused joins with a token that must not do, and gives the error.
func (m *member) refused(token string, code core.Code) refusal {
	m.Helper()
	_, err := m.api().ClusterJoin(m.Context(), client.Write{}, token)
	wantCode(m.T, err, code)
	e, ok := core.AsError(err)
	if !ok {
		return refusal{Message: err.Error()}
	}
	return refusal{e.Message, e.Hint}
}

// refusal is what a person reads.
type refusal struct{ Message, Hint string }

func (m *member) status() core.ClusterStatus {
	m.Helper()
	s, err := m.api().ClusterStatus(m.Context())
	if err != nil {
		m.Fatal(err)
	}
	return s
}

// write makes a record through the node.
func (m *member) write() {
	m.Helper()
	if _, err := m.api().CreateJoinToken(m.Context(), client.Write{}, core.JoinTokenRequest{}); err != nil {
		m.Errorf("a write through %s: %v", m.name, err)
	}
}

// More nodes than calmSize in one process are too slow, under the race detector, to hear of their leader every
// half a second: they would hold elections all the time, and whether anything is written between two of them
// would be chance.
const (
	calmSize      = 3
	calmHeartbeat = 3 * time.Second
)

// found runs so many voters and workers as one cluster.
func found(t *testing.T, voters, workers int) []*member {
	t.Helper()
	var all []*member
	for i := range voters + workers {
		m := newMember(t, fmt.Sprint("n", i+1))
		if voters+workers > calmSize {
			m.change = func(c *daemon.Config) { c.Membership.Heartbeat = calmHeartbeat }
		}
		m.run()
		all = append(all, m)
	}
	if _, err := all[0].api().ClusterInit(t.Context(), client.Write{}, "test"); err != nil {
		t.Fatal(err)
	}
	all[0].ready()
	for i, m := range all[1:] {
		role := core.RoleVoter
		if i+1 >= voters {
			role = core.RoleWorker
		}
		m.join(all[0].token(core.JoinTokenRequest{Role: role, Node: m.name}))
	}
	awaitVoters(all[0], voters)
	return all
}

// awaitVoters waits until so many members vote.
func awaitVoters(m *member, voters int) {
	m.Helper()
	m.await(fmt.Sprintf("%d members vote", voters), func() bool {
		s, err := m.api().ClusterStatus(m.Context())
		return err == nil && s.Voters == voters && s.Leader != ""
	})
}

// leader waits until a node that runs leads, and gives it and the others that run.
func leader(all []*member) (*member, []*member) {
	var found *member
	var rest []*member
	all[0].Helper()
	all[0].await("there is a leader", func() bool {
		found, rest = nil, nil
		for _, m := range all {
			if m.daemon == nil {
				continue
			}
			health, err := m.api().Health(m.Context())
			if err == nil && health.Leader == m.name {
				found = m
			} else {
				rest = append(rest, m)
			}
		}
		return found != nil
	})
	return found, rest
}
