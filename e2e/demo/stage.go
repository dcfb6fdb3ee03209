package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"github.com/instarhq/instar/e2e/load"
	"github.com/instarhq/instar/e2e/node"
)

// stage is where the story happens: three nodes with a shop on them, and the shop's customers.
type stage struct {
	repository string
	dir        string // everything that is removed at the end
	cluster    *node.Cluster
	node       *node.Node // that the operator speaks to
	shop       string     // address that the customers use
	customers  *load.Run
	began      time.Time

	quiet     []load.Window // when nothing but the load was going on
	asked     time.Time     // when the rollback was asked for
	restarted int           // instances that did not survive the daemon's restart
}

func open(ctx context.Context, bin string) (*stage, error) {
	repository, err := node.Repository()
	if err != nil {
		return nil, err
	}
	bin, err = filepath.Abs(bin)
	if err != nil {
		return nil, err
	}
	dir, err := node.TempDir()
	if err != nil {
		return nil, err
	}
	s := &stage{repository: repository, dir: dir, began: time.Now()}
	s.shop, err = node.FreeAddress()
	if err == nil {
		s.cluster, err = node.StartCluster(ctx, node.ClusterOptions{Bin: bin, Dir: dir, Voters: 3, NodeConfig: targets})
	}
	if err != nil {
		return nil, s.close(err)
	}
	s.node = s.cluster.Nodes[front]
	return s, nil
}

// front is the node that has the proxy. All three are on one machine here, where an address can be listened
// on once; on machines of their own each has a proxy, and carries the route.
const front = 0

// targets configures node i: each makes instances, with ports and users of its own because the others are on
// the same machine.
func targets(i int) string {
	config := fmt.Sprintf("compute \"process\" \"local\" {\n  port_range = \"2%d000-2%d999\"\n  uid_range  = \"2031%d00000-2031%d09999\"\n}\n", i, i, i, i)
	if i == front+1 {
		config += "traffic \"proxy\" \"local\" {}\n"
	}
	return config
}

// close takes everything down, also after an interrupt, and keeps the daemon's log if something failed.
func (s *stage) close(err error) error {
	if s.customers != nil {
		s.customers.Stop()
	}
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	if s.cluster != nil {
		if err != nil {
			for i, n := range s.cluster.Nodes {
				fmt.Fprintf(os.Stderr, "demo: the last words of %s:\n%s\n", s.cluster.Names[i], n.Log(25))
			}
		}
		err = errors.Join(err, s.cluster.Teardown(ctx))
	}
	return errors.Join(err, os.RemoveAll(s.dir))
}

// title begins a scene.
func (s *stage) title(n int, text string) { fmt.Printf("\n%d. %s\n", n, text) }

// say tells what happens, with the time since the beginning.
func (s *stage) say(format string, args ...any) {
	fmt.Printf("%6.1fs  %s\n", time.Since(s.began).Seconds(), fmt.Sprintf(format, args...))
}

// watch lets the load run for a while with nothing else going on, and fails early if customers do.
func (s *stage) watch(ctx context.Context, d time.Duration, quiet bool) error {
	from := time.Now()
	select {
	case <-time.After(d):
	case <-ctx.Done():
		return ctx.Err()
	}
	if quiet {
		s.quiet = append(s.quiet, load.Window{From: from, To: time.Now()})
	}
	requests, failed := s.customers.Count()
	s.say("%d requests so far, %d failed", requests, failed)
	return nil
}
