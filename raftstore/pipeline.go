package raftstore

import (
	"sync"

	"github.com/hashicorp/raft"
)

// drainedPipeline takes answers from a pipeline as they come and keeps them until Raft does. Raft stops
// taking them at the first refusal while it may be in the middle of the next request; if nobody takes the
// answer to the one before, that request never ends (hashicorp/raft#612). The member then gets heartbeats
// and no entries, as long as this node leads, and this node does not end its Raft at its shutdown.
type drainedPipeline struct {
	raft.AppendPipeline
	taken  chan raft.AppendFuture
	closed chan struct{}
	once   sync.Once
}

func newDrainedPipeline(p raft.AppendPipeline) *drainedPipeline {
	d := &drainedPipeline{AppendPipeline: p, taken: make(chan raft.AppendFuture), closed: make(chan struct{})}
	go d.drain()
	return d
}

// drain holds as many answers as Raft is behind with taking them: it asks one question after the other, so
// those are few.
func (d *drainedPipeline) drain() {
	var held []raft.AppendFuture
	for {
		var next raft.AppendFuture
		var give chan<- raft.AppendFuture // nil as long as there is nothing to give
		if len(held) > 0 {
			next, give = held[0], d.taken
		}
		select {
		case answer := <-d.AppendPipeline.Consumer():
			held = append(held, answer)
		case give <- next:
			held = held[1:]
		case <-d.closed:
			return
		}
	}
}

// Consumer implements raft.AppendPipeline.
func (d *drainedPipeline) Consumer() <-chan raft.AppendFuture { return d.taken }

// Close implements raft.AppendPipeline.
func (d *drainedPipeline) Close() error {
	d.once.Do(func() { close(d.closed) })
	return d.AppendPipeline.Close()
}
