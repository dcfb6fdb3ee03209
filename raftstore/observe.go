package raftstore

import "time"

// Observer is told what the store does, for metrics. Its methods are called from the store's own goroutines
// and have to return at once.
type Observer interface {
	// Committed is told, on the leader, of each transaction that Raft has committed and the state machine has
	// judged, and how long that took since it was queued.
	Committed(took time.Duration)
	// Grouped is told of each entry of Raft's log how many transactions went into it.
	Grouped(transactions int)
}

// observed tells the observer about a group that was committed.
func (s *Store) observed(group []*proposal) {
	if s.config.Observer == nil {
		return
	}
	s.config.Observer.Grouped(len(group))
	now := time.Now()
	for _, p := range group {
		s.config.Observer.Committed(now.Sub(p.queued))
	}
}
