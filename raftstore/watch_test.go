package raftstore

import (
	"testing"
	"time"

	"github.com/instarhq/instar/raftstore/forward"
	"github.com/instarhq/instar/raftstore/fsm"
)

func TestInstallsWithoutProgress(t *testing.T) {
	var i installs
	at := func(index, installed uint64) fsm.Position {
		return fsm.Position{RaftIndex: index, Installed: installed}
	}
	for epoch := range uint64(installsWithoutProgress - 1) {
		if i.look(epoch+1, at(100, 100)) {
			t.Fatalf("gave up after install %d", epoch+1)
		}
	}
	if i.look(installsWithoutProgress-1, at(100, 100)) {
		t.Error("an idle cluster after an install is no livelock")
	}
	if !i.look(installsWithoutProgress, at(100, 100)) {
		t.Error("does not give up")
	}
	i = installs{}
	for epoch := range uint64(20) {
		if i.look(epoch+1, at(100, 100)) || i.look(epoch+1, at(101, 100)) {
			t.Fatal("gave up although it goes on after every install")
		}
	}
}

func TestLaggards(t *testing.T) {
	var l laggards
	now := time.Now()
	m := func(last, lag uint64) *Member {
		return &Member{Name: "n2", Lag: lag, Progress: &forward.Progress{LogLast: last}}
	}
	for i, c := range []struct {
		member *Member
		want   time.Duration
	}{
		{m(10, 0), 0},
		{m(10, 0), 0},                // level, and nothing to get
		{m(10, 5), time.Second},      // behind, since the look before
		{m(10, 9), 2 * time.Second},  // still
		{m(12, 9), 0},                // moves
		{m(12, 9), 1 * time.Second},  // no more
		{&Member{Name: "n2"}, 0},     // away: that is something else
		{m(12, 9), 0},                // back
		{m(12, 12), 1 * time.Second}, // and stuck
	} {
		if got := l.look(c.member, now.Add(time.Duration(i)*time.Second)); got != c.want {
			t.Errorf("look %d: %s, want %s", i, got, c.want)
		}
	}
}
