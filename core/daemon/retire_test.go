package daemon_test

import (
	"sync"
	"testing"
	"time"
)

const (
	// stopRounds is how often all nodes stop at one moment. Who leads, and how far each is when, differs every time.
	stopRounds = 2
	// stopLimit is what a node may take that has nobody to hand over to: the bounds of handing over, of requests
	// under way and of Raft's end, and as much again for a machine under load.
	stopLimit = 40 * time.Second
)

// Three nodes that are told to stop at one moment have nobody to hand the leadership to. That is no failure
// of any of them, and none waits for the others longer than its own bounds.
func TestAllStopAtOnce(t *testing.T) {
	t.Parallel()
	all := found(t, 3, 0)
	for round := range stopRounds {
		if round > 0 {
			for _, m := range all {
				m.run()
			}
			for _, m := range all {
				m.ready()
				<-m.started
			}
		}
		began := time.Now()
		var group sync.WaitGroup
		closed, ended := make([]error, len(all)), make([]error, len(all))
		for i, m := range all {
			<-m.started
			group.Go(func() {
				closed[i] = m.daemon.Close()
				ended[i] = <-m.ended
				m.ended <- nil // for stop
			})
		}
		group.Wait()
		for i, m := range all {
			if closed[i] != nil || ended[i] != nil {
				t.Errorf("round %d, %s: Close gave %v, Wait %v", round, m.name, closed[i], ended[i])
			}
			m.stop()
		}
		if took := time.Since(began); took > stopLimit {
			t.Errorf("round %d took %s", round, took)
		}
	}
}
