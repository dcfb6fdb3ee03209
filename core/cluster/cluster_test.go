package cluster

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/instarhq/instar/core"
	"github.com/instarhq/instar/core/identity"
	"github.com/instarhq/instar/core/state"
)

// A dead voter goes by itself only where the others can do without it, and not the third of three.
func TestDeadVoters(t *testing.T) {
	tests := []struct {
		name       string
		voters     int
		down       []string
		after      time.Duration
		wantVoters int
	}{
		{"too early", 4, []string{"n4"}, time.Minute, 4},
		{"one of four", 4, []string{"n4"}, 2 * time.Hour, 3},
		{"one of three stays", 3, []string{"n3"}, 2 * time.Hour, 3},
		{"two of five", 5, []string{"n4", "n5"}, 2 * time.Hour, 3},
		{"three of five: those who remain are too few", 5, []string{"n3", "n4", "n5"}, 2 * time.Hour, 5},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			w := newWorld(t, 0)
			for i := 2; i <= tt.voters; i++ {
				w.voter(fmt.Sprint("n", i))
			}
			for _, name := range tt.down {
				w.down(name)
			}
			w.pass(tt.after)
			w.rounds(6)
			got := w.voters()
			if len(got) != tt.wantVoters {
				t.Fatalf("voters %v, want %d", got, tt.wantVoters)
			}
			for _, name := range tt.down {
				m, _ := state.Members.Get(w.state.View(), name)
				out := !slices.Contains(got, name)
				if out != (m.State == core.MemberRemoved) || out != m.Certificates[0].Revoked {
					t.Errorf("%s: %+v", name, m)
				}
			}
		})
	}
}

// The level of stored formats is raised when the last member can read it, and not before.
func TestLevelIsRaisedByTheLast(t *testing.T) {
	w := newWorld(t, 1)
	w.voter("n2")
	w.cfg.Level = 2 // this node has been upgraded
	says := func(name string, level int) {
		w.put(func(tx *state.Tx) {
			state.Nodes.Put(tx, name, core.Node{Format: core.Format, Name: name, Level: level})
		})
	}
	level := func() int {
		w.rounds(1)
		c, _ := object(w.state.View())
		return c.Level
	}
	says("n1", 2)
	if got := level(); got != 1 {
		t.Errorf("level %d while n2 has said nothing", got)
	}
	says("n2", 1)
	if got := level(); got != 1 {
		t.Errorf("level %d while n2 reads 1", got)
	}
	says("n2", 2)
	if got := level(); got != 2 {
		t.Errorf("level %d when all read 2", got)
	}
	old := application{Node: "n3", Address: "n3:1", Level: 1, Version: "0.9"}
	made, err := w.CreateToken(t.Context(), core.Meta{Principal: "test"}, core.JoinTokenRequest{})
	if err != nil {
		t.Fatal(err)
	}
	old.Token = made.Token.ID
	w.put(func(tx *state.Tx) {
		tok := made.Token
		tok.Secret = core.DigestBytes(make([]byte, 32))
		state.JoinTokens.Put(tx, tok.ID, tok)
	})
	old.Secret = make([]byte, 32)
	_, err = w.state.Update(t.Context(), core.Meta{Principal: "test", Verb: "test"}, func(tx *state.Tx) error {
		return w.enter(tx, &old, core.Certificate{}, "")
	})
	if core.CodeOf(err) != core.CodeUnsupported {
		t.Errorf("a node that reads level 1 joins a cluster at level 2: %v", err)
	}
}

// What nobody can use any more is forgotten: expired certificates, removed members without any, tokens.
func TestPrune(t *testing.T) {
	w := newWorld(t, 0)
	w.voter("n2")
	w.voter("n3")
	if _, err := w.Remove(t.Context(), core.Meta{Principal: "test"}, "n2", false); core.CodeOf(err) != core.CodeConflict {
		t.Errorf("a node that lives was removed: %v", err)
	}
	if _, err := w.Remove(t.Context(), core.Meta{Principal: "test"}, "n2", true); err != nil {
		t.Fatal(err)
	}
	if _, err := w.CreateToken(t.Context(), core.Meta{Principal: "test"}, core.JoinTokenRequest{Expires: core.Duration(time.Minute)}); err != nil {
		t.Fatal(err)
	}
	w.rounds(3)
	if m, _ := state.Members.Get(w.state.View(), "n2"); m.State != core.MemberRemoved {
		t.Fatalf("member %+v", m)
	}
	w.pass(100 * 24 * time.Hour)
	w.rounds(1)
	if _, there := state.Members.Get(w.state.View(), "n2"); there {
		t.Error("a removed member whose certificates have expired is still there")
	}
	if m, there := state.Members.Get(w.state.View(), "n3"); !there || len(m.Certificates) != 0 {
		t.Errorf("an active member: %+v", m)
	}
	if len(w.Tokens()) != 0 {
		t.Errorf("tokens %v", w.Tokens())
	}
}

// Revoked certificates are refused, and those that are newer than what this node has seen are not.
func TestBook(t *testing.T) {
	w := newWorld(t, 0)
	w.voter("n2")
	b := w.cfg.Book
	b.update(w.state.View())
	if address, ok := b.Resolve("n2"); !ok || address != "n2:1" {
		t.Errorf("n2 is at %q", address)
	}
	for _, serial := range []string{"cn2", "newer"} {
		if err := b.Check(identity.Peer{Node: "n2", Serial: serial}); err != nil {
			t.Errorf("%s: %v", serial, err)
		}
	}
	if err := w.revoke(t.Context(), "n2", "test"); err != nil {
		t.Fatal(err)
	}
	if _, revoked := b.update(w.state.View()); !revoked {
		t.Error("nothing was revoked")
	}
	if err := b.Check(identity.Peer{Node: "n2", Serial: "cn2"}); core.CodeOf(err) != core.CodeDenied {
		t.Errorf("a revoked certificate: %v", err)
	}
	if _, ok := b.Resolve("n2"); ok {
		t.Error("a removed member has an address")
	}
}

func TestAuthorize(t *testing.T) {
	tests := []struct {
		kind core.Kind
		id   string
		ok   bool
	}{
		{core.KindNode, "n2", true},
		{core.KindNode, "n3", false},
		{core.KindDriver, "n2/compute/process", true},
		{core.KindDriver, "n3/compute/process", false},
		{core.KindInstanceStatus, "web-1", true},
		{core.KindInstance, "web-1", false},
		{core.KindService, "web", false},
		{core.KindMember, "n2", false},
		{core.KindCluster, core.ClusterObject, false},
		{core.KindToken, "x", false},
	}
	for _, tt := range tests {
		txn := core.Txn{Meta: core.Meta{Principal: "local:root"}, Ops: []core.Op{{Kind: tt.kind, ID: tt.id}}}
		err := Authorize("n2", &txn)
		if (err == nil) != tt.ok {
			t.Errorf("%s %s: %v", tt.kind, tt.id, err)
		}
		if tt.ok && (txn.Meta.Principal != "agent:n2" || txn.Meta.Origin != "n2") {
			t.Errorf("meta %+v", txn.Meta)
		}
	}
}

func TestLimiter(t *testing.T) {
	now := time.Now()
	l := newLimiter(func() time.Time { return now })
	for i := range attempts {
		if err := l.allow("a"); err != nil {
			t.Fatalf("attempt %d: %v", i, err)
		}
		l.failed("a")
	}
	if err := l.allow("a"); !core.Retryable(err) {
		t.Errorf("after %d failures: %v", attempts, err)
	}
	if err := l.allow("b"); err != nil {
		t.Errorf("another address: %v", err)
	}
	now = now.Add(forgiveness)
	if err := l.allow("a"); err != nil {
		t.Errorf("a moment later: %v", err)
	}
	for i := range 2 * mostSources {
		l.failed(fmt.Sprint(i))
	}
	if len(l.full) > mostSources+1 {
		t.Errorf("%d addresses are remembered", len(l.full))
	}
}
