package haproxy_test

import (
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/instarhq/instar/e2e/load"
	"github.com/instarhq/instar/plugins/traffic/haproxy"
	"github.com/instarhq/instar/sdk"
)

// shopDir is where buildShop has put the shop; empty if nobody wanted it.
var shopDir string

// buildShop builds the example shop, once for all tests.
var buildShop = sync.OnceValues(func() (path string, err error) {
	if shopDir, err = os.MkdirTemp("", "instar-shop-"); err != nil {
		return "", err
	}
	path = filepath.Join(shopDir, "shop")
	out, err := exec.Command("go", "build", "-o", path, "github.com/instarhq/instar/examples/shop").CombinedOutput()
	if err != nil {
		err = fmt.Errorf("%w: %s", err, out)
	}
	return path, err
})

// shop runs the example shop as some revision and returns its address and its process.
func (b *balancer) shop(revision int) (address string, process *os.Process) {
	b.Helper()
	program, err := buildShop()
	if err != nil {
		b.Fatalf("%v", err)
	}
	address = b.free()
	cmd := exec.Command(program, "-listen", address)
	cmd.Env = append(os.Environ(), fmt.Sprintf("INSTAR_REVISION=%d", revision))
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	if err := cmd.Start(); err != nil {
		b.Fatalf("%v", err)
	}
	b.Cleanup(func() {
		_ = cmd.Process.Kill() // it may have been killed before
		_ = cmd.Wait()
	})
	b.await("the shop listens", func() bool {
		conn, err := net.Dial("tcp", address)
		if err == nil {
			_ = conn.Close()
		}
		return err == nil
	})
	return address, cmd.Process
}

// market is a route with two revisions, customers, and what a fair judge has to know.
type market struct {
	*balancer
	t        *testing.T
	driver   *haproxy.Driver
	route    sdk.Route
	pools    [3][]string // addresses, by revision
	run      *load.Run
	timeline load.Timeline
	active   int
}

func openMarket(t *testing.T, scale float64) *market {
	t.Helper()
	b := startBalancer(t)
	m := &market{balancer: b, t: t, driver: b.driver(), active: 1}
	for revision := 1; revision <= 2; revision++ {
		for range 2 {
			address, _ := b.shop(revision)
			m.pools[revision] = append(m.pools[revision], address)
		}
	}
	m.route = b.route("shop", m.pools[1]...)
	apply(t, m.driver, m.route)
	m.timeline = load.NewTimeline(1, time.Now())
	var err error
	m.run, err = load.Start(t.Context(), load.Config{
		Target: m.route.Listen, RevisionHeader: load.ShopRevisionHeader,
		Streams: append(load.ShopStreams(scale), load.ShopIdlePosts(scale)),
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { m.run.Stop() })
	return m
}

// switchTo makes a revision the active one; the other stays warm, or leaves.
func (m *market) switchTo(revision int, keep bool) {
	m.t.Helper()
	pools := []sdk.Pool{pool(revision, 100, m.pools[revision]...)}
	if keep {
		pools = append(pools, pool(3-revision, 0, m.pools[3-revision]...))
	}
	m.route = next(m.route, pools...)
	began := time.Now()
	apply(m.t, m.driver, m.route)
	if revision != m.active {
		m.timeline, m.active = m.timeline.Switch(revision, began, time.Now()), revision
	}
}

// customers waits until some more requests were sent.
func (m *market) customers(n int) {
	m.t.Helper()
	from, _ := m.run.Count()
	m.await("customers come", func() bool {
		now, _ := m.run.Count()
		return now >= from+n
	})
}

func (m *market) satisfied() {
	m.t.Helper()
	result := m.run.Stop()
	for _, line := range result.Failures(8) {
		m.t.Errorf("I8: failed: %s", line)
	}
	wrong := result.WrongRevision(m.timeline)
	for _, line := range wrong[:min(len(wrong), 8)] {
		m.t.Errorf("I8: wrong revision: %s", line)
	}
	if result.Lost != 0 {
		m.t.Errorf("I8: %d of %d WebSocket sessions were lost", result.Lost, result.Sessions)
	}
	m.t.Logf("%d requests, %d failed; %d WebSocket sessions, %d lost", len(result.Records), result.Failed(), result.Sessions, result.Lost)
}

func TestI8SwitchesUnderLoad(t *testing.T) {
	t.Parallel()
	m := openMarket(t, 0.7)
	m.switchTo(1, true)
	for n := range 40 {
		m.switchTo(2-n%2, n%4 != 3) // each fourth time the old revision leaves, and has to come back
		m.customers(15)
	}
	m.satisfied()
}

func TestI8ReloadsUnderLoad(t *testing.T) {
	t.Parallel()
	m := openMarket(t, 0.7)
	m.switchTo(1, true)
	for n := range 10 {
		switch n % 3 {
		case 0:
			if err := m.Reload(t.Context()); err != nil {
				t.Fatal(err)
			}
		case 1: // the driver's own
			apply(t, m.driver, m.balancer.route(fmt.Sprintf("other-%d", n), m.pools[1][0]))
		case 2: // too many endpoints for the slots
			m.pools[2] = append(m.pools[2], m.pools[2][:2]...)
		}
		m.switchTo(2-n%2, true)
		m.customers(60)
	}
	m.satisfied()
}
