package main

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"syscall"
	"time"

	"github.com/instarhq/instar/core"
	"github.com/instarhq/instar/e2e/load"
)

// story is what happens, in order.
var story = []struct {
	title string
	play  func(ctx context.Context, s *stage) error
}{
	{"A shop opens: version 1, three instances", deployFirst},
	{"Customers come, and stay through all that follows", openDoors},
	{"Version 2 replaces version 1", deploySecond},
	{"Second thoughts: back to version 1", rollBack},
	{"A version that never becomes healthy", neverHealthy},
	{"A version that turns bad after it got the customers", turnsBad},
	{"An instance is ended from outside", endInstance},
	{"The daemon beside the proxy is killed, and comes back", killDaemon},
	{"The leader is killed in the middle of a rollout", killLeader},
	{"A new configuration, the same version", replaceConfig},
	{"The customers go home; what does the log say?", verifyLog},
}

func deployFirst(ctx context.Context, s *stage) error {
	for i, n := range s.cluster.Nodes {
		s.say("%s runs as process %d", s.cluster.Names[i], n.Pid())
	}
	if err := s.must(ctx, "cluster", "status"); err != nil {
		return err
	}
	return s.deploy(ctx, "version=1")
}

func openDoors(ctx context.Context, s *stage) error {
	var err error
	s.customers, err = load.Start(context.WithoutCancel(ctx), load.Config{
		Target: s.shop, RevisionHeader: load.ShopRevisionHeader, Streams: load.ShopStreams(1),
	})
	if err != nil {
		return err
	}
	s.say("about 200 requests a second at %s: kept-alive and fresh connections, HTTP/2, streamed orders, WebSockets", s.shop)
	if err := s.watch(ctx, time.Second, false); err != nil { // connections are made, caches warm
		return err
	}
	return s.watch(ctx, 5*time.Second, true)
}

func deploySecond(ctx context.Context, s *stage) error { return s.deploy(ctx, "version=2") }

// pause samples the steady state between scenes, so that it is compared with switches under the same
// conditions of a machine that may be busy with other things, too.
const pause = 1500 * time.Millisecond

func rollBack(ctx context.Context, s *stage) error {
	if err := s.watch(ctx, pause, true); err != nil {
		return err
	}
	s.asked = time.Now()
	if err := s.must(ctx, "rollback", "shop"); err != nil {
		return err
	}
	view, err := s.service(ctx)
	if err != nil {
		return err
	}
	if view.Service.Active != 1 {
		return fmt.Errorf("revision %d has the traffic after the rollback, want 1", view.Service.Active)
	}
	return nil
}

func neverHealthy(ctx context.Context, s *stage) error {
	return s.refuse(ctx, "version=3", "never_healthy=true", "progress_deadline=4s")
}

func turnsBad(ctx context.Context, s *stage) error {
	if err := s.watch(ctx, pause, true); err != nil {
		return err
	}
	// It is healthy for long enough to be verified and to get the traffic; then its health check fails,
	// though it still answers customers properly.
	return s.refuse(ctx, "version=3", "unhealthy_after=6s", "bake=10s")
}

func endInstance(ctx context.Context, s *stage) error {
	before, err := s.active(ctx)
	if err != nil {
		return err
	}
	for id, v := range before {
		number, err := pid(ctx, v)
		if err != nil {
			return err
		}
		s.say("SIGTERM to %s, process %d; the shop serves until its customers are sent elsewhere, and ends", id, number)
		s.say("(SIGKILL would lose what is in flight on that instance: no system can know whether it was done)")
		if err := syscall.Kill(number, syscall.SIGTERM); err != nil {
			return err
		}
		return s.awaitReplacement(ctx, id, len(before))
	}
	return fmt.Errorf("no instance serves")
}

func (s *stage) awaitReplacement(ctx context.Context, gone string, want int) error {
	err := await(ctx, "another instance in its place", func() (bool, error) {
		now, err := s.active(ctx)
		_, still := now[gone]
		return err == nil && !still && len(now) == want, err
	})
	if err != nil {
		return err
	}
	now, err := s.active(ctx)
	if err != nil {
		return err
	}
	names := make([]string, 0, len(now))
	for id := range now {
		names = append(names, id)
	}
	s.say("%d instances serve again: %s", len(now), strings.Join(names, " "))
	return nil
}

func killDaemon(ctx context.Context, s *stage) error {
	before, err := s.pids(ctx)
	if err != nil {
		return err
	}
	if err := s.node.Kill(); err != nil {
		return err
	}
	s.say("SIGKILL to instard on %s; nobody can change its proxy now, which serves all the same", s.cluster.Names[front])
	if err := s.watch(ctx, 2*time.Second, false); err != nil {
		return err
	}
	if err := s.node.Start(ctx); err != nil {
		return err
	}
	s.say("instard is back as process %d", s.node.Pid())
	err = await(ctx, "the instances are found again", func() (bool, error) {
		now, err := s.active(ctx)
		return err == nil && len(now) == len(before), err
	})
	if err != nil {
		return err
	}
	after, err := s.pids(ctx)
	if err != nil {
		return err
	}
	for id, number := range before {
		if after[id] != number {
			s.restarted++
			s.say("%s was process %d and is now process %d", id, number, after[id])
		}
	}
	s.say("%d instances, %d restarted", len(after), s.restarted)
	return nil
}

// killLeader ends the leader while a revision is on its way, and lets the new one go on.
func killLeader(ctx context.Context, s *stage) error {
	if err := s.watch(ctx, pause, true); err != nil {
		return err
	}
	leader, err := s.cluster.Leader(ctx)
	if err != nil {
		return err
	}
	s.node = s.cluster.Nodes[(leader+1)%len(s.cluster.Nodes)] // the operator needs somebody who answers
	defer func() { s.node = s.cluster.Nodes[front] }()
	if code, err := s.apply(ctx, "version=2", "-detach"); err != nil || code != 0 {
		return errors.Join(err, fmt.Errorf("exit code %d", code))
	}
	var r core.Rollout
	err = await(ctx, "a revision that is verified", func() (bool, error) {
		view, err := s.service(ctx)
		if err != nil || view.Rollout == nil {
			return false, err
		}
		r = view.Rollout.Rollout
		return r.Phase >= core.RolloutVerifying && r.Phase < core.RolloutRetiring, nil
	})
	if err != nil {
		return err
	}
	if err := s.cluster.Nodes[leader].Kill(); err != nil {
		return err
	}
	s.say("SIGKILL to instard on %s, the leader, while %s is %s", s.cluster.Names[leader], r.ID(), r.Phase)
	now, err := s.cluster.Leader(ctx)
	if err != nil {
		return err
	}
	s.say("%s leads, and goes on", s.cluster.Names[now])
	if err := s.cluster.Nodes[leader].Start(ctx); err != nil {
		return err
	}
	s.say("%s is back", s.cluster.Names[leader])
	if err := s.must(ctx, "rollout", "watch", r.ID()); err != nil {
		return err
	}
	view, err := s.service(ctx)
	if err != nil {
		return err
	}
	if view.Service.Active != r.To {
		return fmt.Errorf("after the leader's death revision %d has the traffic, %s wanted %d", view.Service.Active, r.ID(), r.To)
	}
	return s.must(ctx, "cluster", "status")
}

// pids returns the process ids of the serving instances by instance id.
func (s *stage) pids(ctx context.Context) (map[string]int, error) {
	views, err := s.active(ctx)
	if err != nil {
		return nil, err
	}
	found := map[string]int{}
	for id, v := range views {
		if found[id], err = pid(ctx, v); err != nil {
			return nil, err
		}
	}
	return found, nil
}

func replaceConfig(ctx context.Context, s *stage) error {
	if err := s.watch(ctx, pause, true); err != nil {
		return err
	}
	if err := s.deploy(ctx, "version=1", "banner=Everything must go"); err != nil {
		return err
	}
	view, err := s.service(ctx)
	if err != nil {
		return err
	}
	s.say("the new banner is revision %d: a config object is immutable, so a new one makes new instances", view.Service.Active)
	return s.watch(ctx, time.Second, false)
}

func verifyLog(ctx context.Context, s *stage) error {
	return s.must(ctx, "audit", "verify")
}
