package heartbeat

import (
	"context"
	"sync"
	"time"

	"github.com/instarhq/instar/core"
)

const (
	// tick is how often the tracker looks at the clock, and pause how late a tick shows that the process
	// did not run: stopped, starved, or on a machine that slept.
	tick  = 250 * time.Millisecond
	pause = time.Second
	// gap is the longest time between two beats of a node that is in steady contact.
	gap = 3 * time.Second
)

// Tracker keeps, on the leader, when each node was heard last. It knows nothing of terms before its own.
// Safe for concurrent use.
type Tracker struct {
	changed chan struct{}

	mu      sync.Mutex
	leading bool
	ticked  time.Time // when the process was last known to run
	awake   time.Time // beats are not taken before
	since   time.Time // when everybody was taken for fresh
	nodes   map[string]*sighting
}

type sighting struct {
	last   time.Time // of the newest beat, moved on by the pauses of this process since
	steady time.Time // of the first beat since the last gap
	beat   Beat
}

// NewTracker makes a tracker that takes no beats yet.
func NewTracker() *Tracker {
	return &Tracker{changed: make(chan struct{}, 1), nodes: map[string]*sighting{}}
}

// Lead takes beats until ctx ends, which ends with this node's leadership. When it begins all nodes are
// fresh: nobody knew yet where to send beats to.
func (t *Tracker) Lead(ctx context.Context) {
	t.begin()
	defer t.end()
	ticker := time.NewTicker(tick)
	defer ticker.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
			t.tick(time.Now())
		}
	}
}

func (t *Tracker) begin() {
	t.mu.Lock()
	defer t.mu.Unlock()
	now := time.Now()
	t.leading, t.ticked, t.since, t.awake = true, now, now, now
	clear(t.nodes)
}

func (t *Tracker) end() {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.leading = false
}

// tick notices when this process did not run for a while: that was nobody's silence but its own. For a
// moment it then takes no beats, because it may not lead any more and not know it yet.
func (t *Tracker) tick(now time.Time) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.wake(now)
	t.ticked = now
}

func (t *Tracker) wake(now time.Time) {
	slept := now.Sub(t.ticked)
	if slept < pause {
		return
	}
	t.ticked, t.awake = now, now.Add(pause)
	t.since = t.since.Add(slept)
	for _, s := range t.nodes {
		s.last = s.last.Add(slept)
	}
}

// Take notes a beat. The error is CodeNotLeader if this node does not lead, or is not sure of it.
func (t *Tracker) Take(beat Beat) error {
	t.mu.Lock()
	defer t.mu.Unlock()
	now := time.Now()
	if !t.leading {
		return core.Errorf(core.CodeNotLeader, "this node does not lead")
	}
	if t.wake(now); now.Before(t.awake) {
		e := core.Errorf(core.CodeNotLeader, "this node did not run for a while, and finds out whether it still leads")
		e.RetryAfter = t.awake.Sub(now)
		return e
	}
	s := t.nodes[beat.Node]
	if s == nil {
		s = &sighting{}
		t.nodes[beat.Node] = s
	}
	again := now.Sub(s.last) > gap
	if again {
		s.steady = now
	}
	if again || s.beat.Settled != beat.Settled {
		t.signal()
	}
	s.last, s.beat = now, beat
	return nil
}

func (t *Tracker) signal() {
	select {
	case t.changed <- struct{}{}:
	default:
	}
}

// Changed is readable after a node was heard of that had not been for a while. It has one reader.
func (t *Tracker) Changed() <-chan struct{} { return t.changed }

// Sight is what the leader knows of a node.
type Sight struct {
	Silent time.Duration // since the last beat, or since the leadership began
	Heard  bool          // there was a beat since then
	Steady time.Duration // for how long beats have been coming, up to the last one
	Beat   Beat          // the last one
}

// Look tells what is known of a node. ok is false while nothing can be said of anybody, because this
// process has just been paused or does not lead.
func (t *Tracker) Look(node string) (sight Sight, ok bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	now := time.Now()
	if t.wake(now); !t.leading || now.Before(t.awake) {
		return Sight{}, false
	}
	s := t.nodes[node]
	if s == nil {
		return Sight{Silent: now.Sub(t.since)}, true
	}
	return Sight{Silent: now.Sub(s.last), Heard: true, Steady: s.last.Sub(s.steady), Beat: s.beat}, true
}
