package daemon_test

import (
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/instarhq/instar/core"
	"github.com/instarhq/instar/core/api/client"
	"github.com/instarhq/instar/core/daemon"
	"github.com/instarhq/instar/core/identity/token"
)

// Three nodes: each takes writes, each can be restarted while the others go on, and all agree.
func TestClusterOfThree(t *testing.T) {
	t.Parallel()
	all := found(t, 3, 0)
	s := all[1].status()
	if s.Tolerates != 1 || s.Quorum != 2 || len(s.Members) != 3 || len(s.Risks) != 0 {
		t.Errorf("status %+v", s)
	}
	for _, m := range s.Members {
		if !m.Reachable || m.Replica == nil || !m.Replica.CA || m.Expires.IsZero() {
			t.Errorf("member %+v", m)
		}
	}
	for i, m := range all {
		for _, other := range all {
			other.write()
		}
		m.stop()
		for _, other := range all {
			if other != m {
				other.write()
			}
		}
		m.run()
		m.ready()
		if s := m.status(); s.Leader == "" || len(s.Members) != 3 {
			t.Errorf("after restart %d: %+v", i, s)
		}
	}
	read := func(m *member) int {
		tokens, err := m.api().JoinTokens(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		return len(tokens)
	}
	for _, m := range all {
		m.await(m.name+" has everything", func() bool { return read(m) == 15 })
	}
}

// A write is readable at once on the node that has taken it, whoever leads.
func TestOwnWritesAreReadable(t *testing.T) {
	t.Parallel()
	all := found(t, 3, 0)
	for range 10 {
		for _, m := range all {
			made, err := m.api().CreateJoinToken(t.Context(), client.Write{}, core.JoinTokenRequest{})
			if err != nil {
				t.Fatal(err)
			}
			tokens, err := m.api().JoinTokens(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			if !slices.ContainsFunc(tokens, func(x core.JoinToken) bool { return x.ID == made.Token.ID }) {
				t.Errorf("%s does not have what it has just written", m.name)
			}
		}
	}
}

// Whoever has no right to join does not, and the reason is in the answer.
func TestRefusedJoins(t *testing.T) {
	t.Parallel()
	all := found(t, 1, 1)
	other := newMember(t, "other")
	other.run()
	if _, err := other.api().ClusterInit(t.Context(), client.Write{}, "other"); err != nil {
		t.Fatal(err)
	}
	other.ready()
	first := all[0]
	guest := newMember(t, "guest")
	guest.run()

	once := first.token(core.JoinTokenRequest{Node: "n3"})
	if e := guest.refused(once, core.CodeDenied); !strings.Contains(e.Message, `"n3" only`) {
		t.Errorf("another's token: %v", e)
	}
	revoked := first.token(core.JoinTokenRequest{})
	tokens, err := first.api().JoinTokens(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if _, err := first.api().RevokeJoinToken(t.Context(), client.Write{}, tokens[len(tokens)-1].ID); err != nil {
		t.Fatal(err)
	}
	guest.refused(revoked, core.CodeDenied)
	expired := first.token(core.JoinTokenRequest{Expires: core.Duration(time.Millisecond)})
	guest.refused(expired, core.CodeDenied)
	guest.refused(once[:len(once)-4], core.CodeInvalid)
	// Another cluster's token that leads here: this is not the cluster that it speaks of.
	foreign, err := token.ParseJoin(other.token(core.JoinTokenRequest{}))
	if err != nil {
		t.Fatal(err)
	}
	own, err := token.ParseJoin(first.token(core.JoinTokenRequest{}))
	if err != nil {
		t.Fatal(err)
	}
	foreign.Addresses = own.Addresses
	if e := guest.refused(text(t, foreign), core.CodeDenied); !strings.Contains(e.Message, "another cluster") {
		t.Errorf("another cluster's token: %v", e)
	}
	foreign.CA = own.CA // and its secret shown to this one
	guest.refused(text(t, foreign), core.CodeDenied)
	twin := newMember(t, "n2")
	twin.run()
	if e := twin.refused(first.token(core.JoinTokenRequest{}), core.CodeConflict); !strings.Contains(e.Hint, "instar cluster remove n2") {
		t.Errorf("a name that is taken: %v, hint %q", e, e.Hint)
	}
	right, err := token.ParseJoin(first.token(core.JoinTokenRequest{Role: core.RoleWorker}))
	if err != nil {
		t.Fatal(err)
	}
	right.Addresses = []string{all[1].address} // any member lets machines in, also a worker
	guest.join(text(t, right))
}

func text(t *testing.T, j token.Join) string {
	t.Helper()
	out, err := j.Text()
	if err != nil {
		t.Fatal(err)
	}
	return out
}

// A worker has everything, does not vote, and its root user is not the cluster's administrator.
func TestWorker(t *testing.T) {
	t.Parallel()
	all := found(t, 1, 1)
	worker := all[1]
	s := worker.status()
	if s.Voters != 1 || len(s.Members) != 2 {
		t.Errorf("status %+v", s)
	}
	for _, m := range s.Members {
		if m.Replica == nil || m.Replica.CA != (m.Member.Name == "n1") {
			t.Errorf("%s has the CA's key: %+v", m.Member.Name, m.Replica)
		}
	}
	_, err := worker.api().CreateJoinToken(t.Context(), client.Write{}, core.JoinTokenRequest{})
	wantCode(t, err, core.CodeDenied)
	worker.stop()
	all[0].write()
	worker.run()
	worker.ready()
}

// The leader leaves: another leads, the certificate is out, and the machine joins again as a new node.
func TestLeaderLeaves(t *testing.T) {
	t.Parallel()
	all := found(t, 3, 0)
	old, rest := leader(all)
	if _, err := old.api().ClusterLeave(t.Context(), client.Write{Reason: "test"}, false); err != nil {
		t.Fatal(err)
	}
	if err := old.end(); !errors.Is(err, daemon.ErrLeft) {
		t.Errorf("the node ended with %v", err)
	}
	awaitVoters(rest[0], 2)
	for _, m := range rest {
		m.write()
	}
	d, err := daemon.New(old.config())
	if err != nil {
		t.Fatal(err)
	}
	if err := d.Start(t.Context()); core.CodeOf(err) != core.CodeConflict {
		t.Errorf("the directory of a node that has left was opened: %v", err)
	}
	if err := os.RemoveAll(old.path); err != nil {
		t.Fatal(err)
	}
	old.run()
	old.join(rest[0].token(core.JoinTokenRequest{}))
	awaitVoters(rest[0], 3)
}

// A node that was removed while it was away is out, whatever it still has.
func TestRemovedNodeIsOut(t *testing.T) {
	t.Parallel()
	all := found(t, 3, 0)
	first, rest := leader(all)
	gone := rest[0]
	if _, err := rest[1].api().RemoveMember(t.Context(), client.Write{}, gone.name, false); core.CodeOf(err) != core.CodeConflict {
		t.Errorf("a node that lives was removed: %v", err)
	}
	gone.stop()
	if _, err := rest[1].api().RemoveMember(t.Context(), client.Write{}, gone.name, true); err != nil {
		t.Fatal(err)
	}
	awaitVoters(first, 2)
	before := first.status().Seq
	gone.run()
	first.write()
	for range 20 {
		health, err := gone.api().Health(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		if health.Ready || health.Seq > before {
			t.Fatalf("a removed node follows: %+v", health)
		}
		first.write()
	}
	gone.stop()
	if err := os.RemoveAll(gone.path); err != nil {
		t.Fatal(err)
	}
	gone.run()
	gone.join(first.token(core.JoinTokenRequest{}))
	awaitVoters(first, 3)
}

// The last voters cannot go.
func TestQuorumIsKept(t *testing.T) {
	t.Parallel()
	all := found(t, 2, 1)
	first, rest := leader(all)
	other := rest[0]
	if other.name == "n3" {
		other = rest[1]
	}
	if _, err := first.api().RemoveMember(t.Context(), client.Write{}, first.name, true); core.CodeOf(err) != core.CodeConflict {
		t.Errorf("a leader removed itself: %v", err)
	}
	if _, err := other.api().ClusterLeave(t.Context(), client.Write{}, false); err != nil {
		t.Fatal(err)
	}
	if err := other.end(); !errors.Is(err, daemon.ErrLeft) {
		t.Errorf("the node ended with %v", err)
	}
	awaitVoters(first, 1)
	if _, err := first.api().ClusterLeave(t.Context(), client.Write{}, false); core.CodeOf(err) != core.CodeConflict {
		t.Errorf("the last voter left: %v", err)
	}
	first.write()
}

// A node's address changes: the others find it again.
func TestAddressChanges(t *testing.T) {
	t.Parallel()
	all := found(t, 3, 0)
	first, rest := leader(all)
	moved := rest[0]
	moved.stop()
	moved.address = "127.0.0.2:0"
	moved.run()
	moved.ready()
	first.await("the new address is known", func() bool {
		for _, m := range first.status().Members {
			if m.Member.Name == moved.name {
				return m.Member.Address == moved.address && m.Reachable
			}
		}
		return false
	})
	moved.write()
}

// A data directory of a node that was alone becomes the first of a cluster, with all that it has.
func TestAdoptsASingleNode(t *testing.T) {
	t.Parallel()
	m := newMember(t, "n1")
	m.change = func(c *daemon.Config) { c.Membership, c.Cluster = nil, "old" }
	d, err := daemon.New(m.config())
	if err != nil {
		t.Fatal(err)
	}
	if err := d.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	before, err := m.api().Status(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if err := d.Close(); err != nil {
		t.Fatal(err)
	}
	m.change = nil
	m.run()
	m.ready() // as before, until it is told
	joined, err := m.api().ClusterInit(t.Context(), client.Write{}, "")
	if err != nil || joined.Cluster != "old" || joined.Node != "n1" {
		t.Fatalf("%+v, %v", joined, err)
	}
	if _, err := m.api().ClusterInit(t.Context(), client.Write{}, ""); core.CodeOf(err) != core.CodeConflict {
		t.Errorf("a second init: %v", err)
	}
	second := newMember(t, "n2")
	second.run()
	second.join(m.token(core.JoinTokenRequest{}))
	awaitVoters(m, 2)
	after, err := second.api().Status(t.Context())
	if err != nil || after.Origin != before.Origin {
		t.Errorf("origin %q before, %q after (%v)", before.Origin, after.Origin, err)
	}
	m.stop()
	m.run()
	m.ready()
}

// Two of three are lost for good: the third goes on alone under a new generation, and others join again.
func TestRecoverFromLostQuorum(t *testing.T) {
	t.Parallel()
	all := found(t, 3, 0)
	all[2].write()
	survivor := all[2]
	want := survivor.status()
	survivor.await("the survivor has everything", func() bool { return survivor.status().Seq >= want.Seq })
	for _, m := range all {
		m.stop()
	}
	r, err := daemon.Recover(t.Context(), survivor.path, core.Meta{Principal: "local:test", Reason: "test"}, nil)
	if err != nil {
		t.Fatal(err)
	}
	if !slices.Contains(r.Former, "n1") || !slices.Contains(r.Former, "n2") || r.Node != "n3" {
		t.Errorf("recovered %+v", r)
	}
	survivor.run()
	survivor.ready()
	awaitVoters(survivor, 1)
	s := survivor.status()
	if len(s.Members) != 1 || !strings.HasSuffix(s.Origin, "/2") {
		t.Errorf("status %+v", s)
	}
	all[0].run() // comes back after all, with what it had
	survivor.write()
	if health, err := all[0].api().Health(t.Context()); err != nil || health.Ready {
		t.Errorf("a lost voter is back in: %+v, %v", health, err)
	}
	all[0].stop()
	if err := os.RemoveAll(all[0].path); err != nil {
		t.Fatal(err)
	}
	all[0].run()
	all[0].join(survivor.token(core.JoinTokenRequest{}))
	awaitVoters(survivor, 2)
}

// Five voters go on without two of them.
func TestFiveVoters(t *testing.T) {
	t.Parallel()
	all := found(t, 5, 0)
	first, rest := leader(all)
	first.stop()
	rest[0].stop()
	for _, m := range rest[1:] {
		m.write()
	}
	s := rest[1].status()
	if s.Voters != 5 || s.Tolerates != 0 || len(s.Risks) == 0 || s.Risks[0].Severity != core.SeverityCritical {
		t.Errorf("status %+v", s)
	}
}

// Seven voters, a dozen workers: three voters go, among them the leader. The others write, and everybody
// who is left has what they have written.
func TestSevenVotersAndADozenWorkers(t *testing.T) {
	t.Parallel()
	all := found(t, 7, 12)
	first, _ := leader(all)
	left := slices.DeleteFunc(slices.Clone(all), func(m *member) bool { return m == first || m == all[5] || m == all[6] })
	if first == all[5] || first == all[6] {
		left = slices.DeleteFunc(left, func(m *member) bool { return m == all[4] })
	}
	for _, m := range all {
		if !slices.Contains(left, m) {
			m.stop()
		}
	}
	for _, m := range left[:4] {
		m.write()
	}
	for _, m := range left {
		m.await(m.name+" has what the voters have written", func() bool {
			tokens, err := m.api().JoinTokens(t.Context())
			return err == nil && len(tokens) == 4 // those by which members have joined are used up
		})
	}
	s := left[0].status()
	if s.Voters != 7 || s.Tolerates != 0 || len(s.Members) != 19 || len(s.Risks) == 0 || s.Risks[0].Severity != core.SeverityCritical {
		t.Errorf("status %+v", s)
	}
}

// A token in a file makes a machine a member without anybody at its keyboard.
func TestJoinTokenFile(t *testing.T) {
	t.Parallel()
	all := found(t, 1, 0)
	file := filepath.Join(t.TempDir(), "token")
	if err := os.WriteFile(file, []byte(all[0].token(core.JoinTokenRequest{Role: core.RoleWorker})+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	m := newMember(t, "n2")
	m.change = func(c *daemon.Config) { c.Membership.JoinTokenFile = file }
	m.run()
	m.ready()
	m.stop()
	if err := os.Remove(file); err != nil {
		t.Fatal(err)
	}
	m.run() // it is a member by now
	m.ready()
}
