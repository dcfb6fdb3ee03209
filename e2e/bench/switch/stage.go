package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"time"

	"github.com/instarhq/instar/e2e/balancer"
	"github.com/instarhq/instar/e2e/node"
	"github.com/instarhq/instar/sdk"
	"github.com/instarhq/instar/sdk/launch"
)

// revisions of the shop, and instances of each.
const (
	revisions = 2
	instances = 2
)

// stage is everything that runs.
type stage struct {
	dir    string
	shops  [revisions][]sdk.Endpoint
	planes []*plane
	ends   []func() error // what to do at the end, the last first
}

// plane is a data plane with the one route that is switched.
type plane struct {
	name   string
	beside bool // it is only compared with
	driver sdk.Traffic
	route  sdk.Route
}

// newStage starts the shops and both drivers. With an error, too, it returns the stage if there may be
// something to close.
func newStage(ctx context.Context) (*stage, error) {
	dir, err := os.MkdirTemp("", "bench-switch-")
	if err != nil {
		return nil, err
	}
	s := &stage{dir: dir}
	s.ends = append(s.ends, func() error { return os.RemoveAll(dir) })
	repository, err := node.Repository()
	if err != nil {
		return s, err
	}
	for pkg, binary := range map[string]string{
		"./examples/shop": "shop", "./cmd/instar-traffic-haproxy": "instar-traffic-haproxy", "./cmd/instar-traffic-proxy": "instar-traffic-proxy",
	} {
		if err := node.BuildPackage(ctx, repository, pkg, filepath.Join(dir, binary)); err != nil {
			return s, err
		}
	}
	for revision := range revisions {
		for n := range instances {
			address, err := s.startShop(ctx, revision+1)
			if err != nil {
				return s, err
			}
			s.shops[revision] = append(s.shops[revision], sdk.Endpoint{ID: fmt.Sprintf("shop-%d-%d", revision+1, n), Address: address})
		}
	}
	b, err := balancer.New(ctx)
	if b != nil {
		s.ends = append(s.ends, b.Close)
	}
	if err != nil {
		return s, err
	}
	if err := s.startPlane(ctx, "haproxy", map[string]any{"master_socket": b.Socket(), "directory": b.Directory()}); err != nil {
		return s, err
	}
	if err := s.startPlane(ctx, "proxy", nil); err != nil {
		return s, err
	}
	s.planes[1].beside = true
	return s, nil
}

// startShop runs one instance and waits until it listens.
func (s *stage) startShop(ctx context.Context, revision int) (string, error) {
	address, err := node.FreeAddress()
	if err != nil {
		return "", err
	}
	cmd := exec.Command(filepath.Join(s.dir, "shop"), "-listen", address)
	cmd.Env = append(os.Environ(), fmt.Sprintf("INSTAR_REVISION=%d", revision))
	if err := cmd.Start(); err != nil {
		return "", err
	}
	s.ends = append(s.ends, func() error {
		_ = cmd.Process.Kill() // if it has ended, that has been noticed otherwise
		_ = cmd.Wait()
		return nil
	})
	for deadline := time.Now().Add(30 * time.Second); time.Now().Before(deadline); <-time.After(10 * time.Millisecond) {
		if conn, err := new(net.Dialer).DialContext(ctx, "tcp", address); err == nil {
			return address, conn.Close()
		}
	}
	return "", fmt.Errorf("the shop at %s does not listen", address)
}

// startPlane starts a driver as instard does.
func (s *stage) startPlane(ctx context.Context, name string, config map[string]any) error {
	dir := filepath.Join(s.dir, name)
	if err := os.MkdirAll(filepath.Join(dir, "state"), 0o700); err != nil {
		return err
	}
	process, err := launch.Start(ctx, launch.Options{
		Path: filepath.Join(s.dir, "instar-traffic-"+name), Dir: filepath.Join(dir, "launch"), Log: filepath.Join(dir, "log"),
	})
	if err != nil {
		return err
	}
	s.ends = append(s.ends, func() error {
		ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
		defer cancel()
		return process.Stop(ctx)
	})
	client, err := process.Driver(sdk.KindTraffic)
	if err != nil {
		return err
	}
	driver, ok := client.(sdk.Traffic)
	if !ok {
		return fmt.Errorf("the driver is a %T", client)
	}
	req := sdk.ConfigureRequest{Target: "bench", Node: "bench", Cluster: "bench", Generation: 1, StateDir: filepath.Join(dir, "state")}
	if config != nil {
		if req.Config, err = json.Marshal(config); err != nil {
			return err
		}
	}
	if err := driver.Configure(ctx, req); err != nil {
		return err
	}
	listen, err := node.FreeAddress()
	if err != nil {
		return err
	}
	p := &plane{name: name, driver: driver, route: sdk.Route{
		ID: "shop", Listen: listen, Protocol: sdk.ProtocolHTTP, Drain: 30 * time.Second,
	}}
	s.planes = append(s.planes, p)
	return p.activate(ctx, s.shops, 1)
}

// activate sends all new requests to a revision; the other one stays warm.
func (p *plane) activate(ctx context.Context, shops [revisions][]sdk.Endpoint, revision int) error {
	p.route.Generation++
	p.route.Pools = nil
	for i, endpoints := range shops {
		pool := sdk.Pool{Revision: i + 1, Endpoints: endpoints}
		if i+1 == revision {
			pool.Weight = 100
		}
		p.route.Pools = append(p.route.Pools, pool)
	}
	return p.driver.Apply(ctx, p.route)
}

func (s *stage) close() (err error) {
	for i := len(s.ends) - 1; i >= 0; i-- {
		err = errors.Join(err, s.ends[i]())
	}
	return err
}
