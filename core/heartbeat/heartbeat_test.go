package heartbeat_test

import (
	"bytes"
	"context"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/instarhq/instar/core"
	"github.com/instarhq/instar/core/heartbeat"
)

// network is what connects the nodes of a test: who leads, and who can be reached.
type network struct {
	t       *testing.T
	mu      sync.Mutex
	leader  string
	servers map[string]*heartbeat.Server
	hangs   map[string]bool // requests to it are never answered
	away    map[string]bool // nodes whose beats do not arrive
	leases  map[string]uint64
}

func newNetwork(t *testing.T, nodes ...string) *network {
	n := &network{t: t, servers: map[string]*heartbeat.Server{}, hangs: map[string]bool{}, away: map[string]bool{}}
	for _, name := range nodes {
		n.servers[name] = &heartbeat.Server{
			Node: name, Tracker: heartbeat.NewTracker(), Seq: func() uint64 { return 7 },
			Leases: func(string) map[string]uint64 { n.mu.Lock(); defer n.mu.Unlock(); return n.leases },
		}
	}
	return n
}

func (n *network) set(change func()) {
	n.mu.Lock()
	defer n.mu.Unlock()
	change()
}

func (n *network) send(ctx context.Context, leader string, beat heartbeat.Beat) (heartbeat.Answer, error) {
	n.mu.Lock()
	hangs, away, server := n.hangs[leader], n.away[beat.Node], n.servers[leader]
	n.mu.Unlock()
	if hangs || away {
		<-ctx.Done()
		return heartbeat.Answer{}, ctx.Err()
	}
	return server.Take(beat)
}

// lead makes a node the leader; the returned function ends that.
func (n *network) lead(name string) func() {
	ctx, cancel := context.WithCancel(n.t.Context())
	done := make(chan struct{})
	go func() { defer close(done); n.servers[name].Tracker.Lead(ctx) }()
	n.set(func() { n.leader = name })
	synctest.Wait()
	return func() { cancel(); <-done }
}

// client starts the client of a node; it ends with the test.
func (n *network) client(name string) *heartbeat.Client {
	c := heartbeat.NewClient(heartbeat.ClientConfig{
		Leader: func() string { n.mu.Lock(); defer n.mu.Unlock(); return n.leader },
		Beat:   func() heartbeat.Beat { return heartbeat.Beat{Node: name, Seq: 5, Settled: true} },
		Send:   n.send,
	})
	ctx, cancel := context.WithCancel(n.t.Context())
	done := make(chan struct{})
	go func() { defer close(done); _ = c.Run(ctx) }()
	n.t.Cleanup(func() { cancel(); <-done })
	return c
}

func (n *network) look(leader, node string) heartbeat.Sight {
	n.t.Helper()
	s, ok := n.servers[leader].Tracker.Look(node)
	if !ok {
		n.t.Fatalf("%s cannot say anything", leader)
	}
	return s
}

func after(d time.Duration) {
	time.Sleep(d) //nolint:forbidigo // in a bubble, where the clock jumps
	synctest.Wait()
}

func TestBeatsAreTaken(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := newNetwork(t, "n1")
		defer n.lead("n1")()
		n.client("n2")
		after(time.Minute)
		s := n.look("n1", "n2")
		if s.Silent > 1200*time.Millisecond || !s.Heard || s.Steady < 50*time.Second || s.Beat.Seq != 5 || !s.Beat.Settled {
			t.Errorf("%+v", s)
		}
		n.set(func() { n.away["n2"] = true })
		after(10 * time.Second)
		if s = n.look("n1", "n2"); s.Silent < 9*time.Second || s.Silent > 12*time.Second {
			t.Errorf("silent for %s", s.Silent)
		}
		n.set(func() { n.away["n2"] = false })
		after(2 * time.Second)
		if s = n.look("n1", "n2"); s.Silent > 1200*time.Millisecond || s.Steady > 3*time.Second {
			t.Errorf("back: %+v", s)
		}
		select {
		case <-n.servers["n1"].Tracker.Changed():
		default:
			t.Error("nobody is told that it is back")
		}
	})
}

func TestEverybodyIsFreshAfterAnElection(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := newNetwork(t, "n1", "n2")
		stop := n.lead("n1")
		after(20 * time.Second)
		if s := n.look("n1", "n3"); s.Silent < 19*time.Second || s.Heard {
			t.Errorf("%+v", s)
		}
		stop()
		if err := n.servers["n1"].Tracker.Take(heartbeat.Beat{Node: "n3"}); core.CodeOf(err) != core.CodeNotLeader {
			t.Errorf("one that does not lead takes beats: %v", err)
		}
		if _, ok := n.servers["n1"].Tracker.Look("n3"); ok {
			t.Error("one that does not lead knows who lives")
		}
		defer n.lead("n2")()
		if s := n.look("n2", "n3"); s.Silent > time.Second {
			t.Errorf("%+v", s)
		}
		defer n.lead("n1")()
		if s := n.look("n1", "n3"); s.Silent > time.Second {
			t.Errorf("again: %+v", s)
		}
	})
}

// A leader that hangs costs its followers no more than a second once another one leads.
func TestNewLeaderIsFoundWithinASecond(t *testing.T) {
	for _, when := range []time.Duration{0, 300 * time.Millisecond, 1500 * time.Millisecond, 4 * time.Second} {
		synctest.Test(t, func(t *testing.T) {
			n := newNetwork(t, "n1", "n2")
			defer n.lead("n1")()
			n.client("n3")
			after(10 * time.Second)
			n.set(func() { n.hangs["n1"] = true })
			after(when)
			defer n.lead("n2")()
			after(time.Second)
			if s := n.look("n2", "n3"); !s.Heard && when >= 1500*time.Millisecond {
				t.Errorf("after %s: not heard within a second", when)
			}
			after(time.Second) // if the beat before was answered, the next was not due yet
			if s := n.look("n2", "n3"); !s.Heard {
				t.Errorf("after %s: not heard within two seconds", when)
			}
		})
	}
}

func TestLeaseEndsWithTheAnswers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := newNetwork(t, "n1")
		defer n.lead("n1")()
		n.leases = map[string]uint64{"compute/ec2/eu": 3}
		c := n.client("n2")
		after(5 * time.Second)
		until := c.Until("compute/ec2/eu", 3)
		if left := time.Until(until); left < 8*time.Second || left > heartbeat.LeaseTime {
			t.Errorf("%s are left", left)
		}
		if !c.Until("compute/ec2/eu", 2).IsZero() || !c.Until("compute/ec2/us", 3).IsZero() {
			t.Error("a lease that it does not hold")
		}
		n.set(func() { n.away["n2"] = true })
		after(heartbeat.LeaseTime)
		if time.Now().Before(c.Until("compute/ec2/eu", 3)) {
			t.Error("holds on without an answer")
		}
		// The leader counts from when it took the last beat: it gives the lease on well after that.
		if s := n.look("n1", "n2"); s.Silent >= heartbeat.FenceTime {
			t.Errorf("already silent for %s", s.Silent)
		}
		n.set(func() { n.away["n2"], n.leases = false, nil })
		after(2 * time.Second)
		if !c.Until("compute/ec2/eu", 3).IsZero() {
			t.Error("holds a lease that is another's by now")
		}
	})
}

func TestHTTP(t *testing.T) {
	tracker := heartbeat.NewTracker()
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	server := &heartbeat.Server{
		Node: "n1", Tracker: tracker, Seq: func() uint64 { return 9 },
		Leases: func(node string) map[string]uint64 { return map[string]uint64{node: 1} },
		Peer:   func(context.Context) string { return "n2" },
	}
	mux := http.NewServeMux()
	mux.Handle(heartbeat.Path, server)
	web := httptest.NewServer(mux)
	defer web.Close()
	send := heartbeat.Local(server, heartbeat.HTTP(web.Client(), func(_, path string) string { return web.URL + path }))
	beat := heartbeat.Beat{Node: "n2", Seq: 3}
	if _, err := send(ctx, "n3", beat); err == nil || !strings.Contains(err.Error(), "n3 refuses") {
		t.Fatalf("before it leads: %v", err)
	}
	done := make(chan struct{})
	go func() { defer close(done); tracker.Lead(ctx) }()
	defer func() { cancel(); <-done }()
	var answer heartbeat.Answer
	var err error
	for end := time.Now().Add(30 * time.Second); time.Now().Before(end); {
		if answer, err = send(ctx, "n3", beat); err == nil {
			break
		}
	}
	if err != nil || answer.Leader != "n1" || answer.Seq != 9 || answer.Leases["n2"] != 1 {
		t.Fatalf("%+v, %v", answer, err)
	}
	if answer, err = send(ctx, "n1", heartbeat.Beat{Node: "n1"}); err != nil || answer.Leases["n1"] != 1 {
		t.Fatalf("to itself: %+v, %v", answer, err)
	}
	if _, err := send(ctx, "n3", heartbeat.Beat{Node: "n4"}); err == nil || !strings.Contains(err.Error(), "for itself only") {
		t.Errorf("in the name of another: %v", err)
	}
	alone := heartbeat.Local(server, nil)
	if _, err := alone(ctx, "n3", beat); err == nil {
		t.Error("a node without a network reaches another one")
	}
	for _, body := range []string{"", "{", `{"node":1}`, `{"node":"` + strings.Repeat("x", 1<<20) + `"}`} {
		response, err := web.Client().Post(web.URL+"/v1/heartbeat", "application/json", bytes.NewReader([]byte(body)))
		if err != nil {
			t.Fatal(err)
		}
		_ = response.Body.Close()
		if response.StatusCode != http.StatusBadRequest {
			t.Errorf("%.20q: %s", body, response.Status)
		}
	}
}
