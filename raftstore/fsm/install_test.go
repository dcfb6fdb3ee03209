package fsm

import (
	"bytes"
	"errors"
	"io"
	"path/filepath"
	"testing"

	"github.com/instarhq/instar/core"
)

// slowWriter takes nothing until it is let go.
type slowWriter struct {
	bytes.Buffer
	began chan struct{}
	goOn  chan struct{}
}

func newSlowWriter() *slowWriter {
	return &slowWriter{began: make(chan struct{}), goOn: make(chan struct{})}
}

func (w *slowWriter) Write(data []byte) (int, error) {
	if w.began != nil {
		close(w.began)
		w.began = nil
	}
	<-w.goOn
	return w.Buffer.Write(data)
}

// TestCopyHoldsNobodyUp copies the file to a reader who does not read, while records are applied and
// flushed and the file is replaced: what the reader gets in the end is the state as it was.
func TestCopyHoldsNobodyUp(t *testing.T) {
	m := open(t, Options{})
	apply(t, m, identityEntry(t), Entry{Index: 2, Term: 1, Type: Configuration, Data: []byte("members")}, group(3, storyRecord(t, 1)))
	out := newSlowWriter()
	began, copied := out.began, make(chan error, 1)
	go func() { copied <- m.WriteTo(out, nil) }()
	<-began
	for n := uint64(2); n <= 50; n++ {
		apply(t, m, group(n+2, storyRecord(t, n)))
		flush(t, m)
	}
	if now, before := m.Durable(); now.Seq != 50 || before.Seq != 49 {
		t.Fatalf("the file is at %d, was at %d", now.Seq, before.Seq)
	}

	var copy50 bytes.Buffer
	if err := m.WriteTo(&copy50, nil); err != nil {
		t.Fatal(err)
	}
	apply(t, m, group(53, storyRecord(t, 51))) // only in memory: the installation drops it
	incoming := receive(t, m, &copy50)
	if err := incoming.Place(60, 2, []byte("others"), 55); err != nil {
		t.Fatal(err)
	}
	if err := m.Install(incoming); err != nil {
		t.Fatal(err)
	}
	if p := m.Position(); p.Seq != 50 || p.RaftIndex != 60 || p.ConfigIndex != 55 || p.Installed != 60 {
		t.Fatalf("after the installation at %+v", p)
	}
	if _, _, err := m.Records(50, 10, 1<<20); err != nil {
		t.Fatal(err)
	}
	if _, err := m.Record(51); !core.IsNotFound(err) {
		t.Fatalf("record 51 of the old file: %v", err)
	}
	apply(t, m, Entry{Index: 61, Term: 2, Data: EncodeGroup([][]byte{storyRecord(t, 51)})})
	verify(t, m)

	close(out.goOn)
	if err := <-copied; err != nil {
		t.Fatal(err)
	}
	first := receive(t, m, &out.Buffer)
	if _, head, err := first.Head(); err != nil || head.Size != 1 {
		t.Fatalf("the copy has %d records, %v", head.Size, err)
	}
	if err := first.Remove(); err != nil {
		t.Fatal(err)
	}
}

func receive(t *testing.T, m *Machine, from io.Reader) *Incoming {
	t.Helper()
	incoming, err := m.NewIncoming("test")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := io.Copy(incoming, from); err != nil {
		t.Fatal(err)
	}
	if err := incoming.Verify(); err != nil {
		t.Fatal(err)
	}
	return incoming
}

// TestAdvanceBringsTheConfiguration is what Raft does when it recovers a cluster: the members come with
// the position, not as an entry.
func TestAdvanceBringsTheConfiguration(t *testing.T) {
	path := filepath.Join(t.TempDir(), "state.db")
	m := openAt(t, path, Options{})
	apply(t, m, identityEntry(t), Entry{Index: 2, Term: 1, Type: Configuration, Data: []byte("three")}, group(3, storyRecord(t, 1)))
	if err := m.Advance(2, 1, []byte("older"), 2); err != nil { // a snapshot of a moment that is over
		t.Fatal(err)
	}
	configuration, position, err := m.Configuration()
	if err != nil || string(configuration) != "three" || position.RaftIndex != 3 || position.Seq != 1 {
		t.Fatalf("%q at %+v, %v", configuration, position, err)
	}
	if err := m.Advance(5, 2, []byte("alone"), 1); err != nil {
		t.Fatal(err)
	}
	shut(t, m)
	m = openAt(t, path, Options{})
	defer shut(t, m)
	configuration, position, err = m.Configuration()
	if err != nil || string(configuration) != "alone" || position.ConfigIndex != 1 || position.RaftIndex != 5 || position.RaftTerm != 2 {
		t.Fatalf("%q at %+v, %v", configuration, position, err)
	}
}

// TestClosedMachine refuses everything, whoever waited.
func TestClosedMachine(t *testing.T) {
	m := openAt(t, filepath.Join(t.TempDir(), "state.db"), Options{})
	apply(t, m, identityEntry(t))
	shut(t, m)
	for name, err := range map[string]error{
		"apply":   func() error { _, err := m.Apply([]Entry{group(2, storyRecord(t, 1))}); return err }(),
		"copy":    m.WriteTo(io.Discard, nil),
		"advance": m.Advance(9, 9, nil, 0),
		"read":    func() error { _, err := m.List(core.KindService, "", 0); return err }(),
	} {
		if core.CodeOf(err) != core.CodeUnavailable {
			t.Errorf("%s: %v", name, err)
		}
	}
	if err := errors.Join(m.Close(), m.Close()); err != nil {
		t.Error(err)
	}
}
