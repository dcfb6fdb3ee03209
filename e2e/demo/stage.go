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

// stage is where the story happens: one instard with a shop on it, and the shop's customers.
type stage struct {
	repository string
	dir        string // everything that is removed at the end
	node       *node.Node
	shop       string // address that the customers use
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
		s.node, err = node.Start(ctx, node.Options{Bin: bin, DataDir: filepath.Join(dir, "data")})
	}
	if err != nil {
		return nil, s.close(err)
	}
	return s, nil
}

// close takes everything down, also after an interrupt, and keeps the daemon's log if something failed.
func (s *stage) close(err error) error {
	if s.customers != nil {
		s.customers.Stop()
	}
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	if s.node != nil {
		if err != nil {
			fmt.Fprintf(os.Stderr, "demo: the daemon's last words:\n%s\n", s.node.Log(25))
		}
		err = errors.Join(err, s.node.Teardown(ctx))
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
