package raftstore

import (
	"context"
	"sync"
	"time"

	"github.com/instarhq/instar/core"
	"github.com/instarhq/instar/raftstore/fsm"
)

// What a store of several nodes looks at every few seconds.

const (
	watchEvery = 5 * time.Second
	// installsWithoutProgress is how often in a row a follower may get the whole state without being able
	// to go on from there.
	installsWithoutProgress = 4
)

func (s *Store) watch() {
	every := s.config.watchEvery
	if every == 0 {
		every = watchEvery
	}
	ticker := time.NewTicker(every)
	defer ticker.Stop()
	for {
		select {
		case <-s.stopping.Done():
			return
		case <-ticker.C:
		}
		s.compare()
		s.watchInstalls()
		s.watchMembers()
	}
}

// installs notices a follower that gets snapshots again and again: the end of its log contradicts the
// cluster's, Raft does not drop it (hashicorp/raft#697), and a restart does.
type installs struct {
	epoch uint64 // of the machine, when last looked at
	vain  int
}

// look reports whether it is time to give up.
func (i *installs) look(epoch uint64, position fsm.Position) bool {
	switch {
	case position.RaftIndex > position.Installed:
		i.vain = 0
	case epoch != i.epoch:
		i.vain++
	}
	i.epoch = epoch
	return i.vain >= installsWithoutProgress
}

func (s *Store) watchInstalls() {
	_, epoch, err := s.machine.Records(s.Seq(), 1, 1)
	if err == nil && s.installs.look(epoch, s.machine.Position()) {
		s.fail(core.Errorf(core.CodeUnavailable, "node %q got the cluster's state %d times in a row and could not go on from there", s.config.Node, s.installs.vain).
			WithHint("restart instard: it drops a log that contradicts the cluster's"))
	}
}

// laggards are the members that answer and do not move, as the leader sees them (hashicorp/raft#612).
type laggards struct {
	mu    sync.Mutex
	moved map[string]movement
}

type movement struct {
	last  uint64 // its newest entry
	since time.Time
}

// stuckAfter is for how long a member may be behind without getting anything until that is said.
const stuckAfter = 15 * time.Second

// look takes what a member says of itself, and says since when it is behind and has not moved.
func (l *laggards) look(m *Member, now time.Time) time.Duration {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.moved == nil {
		l.moved = make(map[string]movement)
	}
	before, known := l.moved[m.Name]
	if m.Progress == nil || m.Lag == 0 || !known || before.last != m.Progress.LogLast {
		last := uint64(0)
		if m.Progress != nil {
			last = m.Progress.LogLast
		}
		l.moved[m.Name] = movement{last, now}
		return 0
	}
	return now.Sub(before.since)
}

func (s *Store) watchMembers() {
	if !s.IsLeader() {
		return
	}
	ctx, cancel := context.WithTimeout(s.stopping, progressPatience)
	defer cancel()
	members, err := s.Members(ctx)
	if err != nil {
		return
	}
	for i := range members {
		if m := &members[i]; m.Stuck >= stuckAfter {
			s.config.Logger.Warn("a member answers, is behind and gets nothing: restart its instard", "node", m.Name, "lag", m.Lag, "for", m.Stuck)
		}
	}
}
