package heartbeat

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/instarhq/instar/core"
)

// A leader that was stopped blames nobody for the silence, and takes no beats until it has had time to
// find out that another one leads.
func TestPauseOfTheLeaderIsForgiven(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		tracker := NewTracker()
		tracker.begin()
		beat := Beat{Node: "n2"}
		if err := tracker.Take(beat); err != nil {
			t.Fatal(err)
		}
		time.Sleep(40 * time.Second) //nolint:forbidigo // in a bubble; nobody ticks meanwhile
		if err := tracker.Take(beat); core.CodeOf(err) != core.CodeNotLeader {
			t.Fatalf("right after a pause: %v", err)
		}
		if _, ok := tracker.Look("n2"); ok {
			t.Fatal("right after a pause it says who lives")
		}
		for range 5 {
			time.Sleep(tick) //nolint:forbidigo // in a bubble
			tracker.tick(time.Now())
		}
		for _, node := range []string{"n2", "n3"} {
			if s, ok := tracker.Look(node); !ok || s.Silent > 2*time.Second {
				t.Errorf("%s: %+v, %t", node, s, ok)
			}
		}
		if err := tracker.Take(beat); err != nil {
			t.Error(err)
		}
	})
}

func BenchmarkTakeOfManyNodes(b *testing.B) {
	tracker := NewTracker()
	tracker.begin()
	names := make([]string, 500)
	for i := range names {
		names[i] = "node-" + string(rune('a'+i%26)) + string(rune('a'+i/26))
	}
	b.ReportAllocs()
	for i := 0; b.Loop(); i++ {
		tracker.tick(time.Now())
		if err := tracker.Take(Beat{Node: names[i%len(names)]}); err != nil {
			b.Fatal(err)
		}
	}
}
