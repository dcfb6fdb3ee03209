package forward

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/instarhq/instar/core"
	"github.com/instarhq/instar/core/audit"
)

// store is a Handler that does what a test says.
type store struct {
	propose func(until time.Time, txn core.Txn) (core.Receipt, error)
	seq     atomic.Uint64
}

func (s *store) Propose(txn core.Txn, until time.Time, done func(core.Receipt, error)) {
	if s.propose != nil {
		go func() { done(s.propose(until, txn)) }()
		return
	}
	done(core.Receipt{Origin: "o/1/1", Seq: s.seq.Add(1), LeafHash: core.Hash{1, 2}, Replayed: txn.Meta.RequestID == "again"}, nil)
}

func (s *store) ReadIndex(context.Context) (uint64, error) { return s.seq.Load(), nil }

func (s *store) Progress() Progress { return Progress{Node: "there", Seq: s.seq.Load(), Contact: -1} }

func (s *store) Compare(_ context.Context, peer string, head core.TreeHead) (core.TreeHead, error) {
	if peer != "here" {
		return core.TreeHead{}, core.Errorf(core.CodeDenied, "peer %q", peer)
	}
	head.Root = core.Hash{9}
	return head, nil
}

// served starts a server and gives a client of it.
func served(t *testing.T, server *Server) (*Client, Peer) {
	t.Helper()
	peer := Peer{Node: "there", Address: listen(t, server)}
	client := NewClient(dial, nil)
	t.Cleanup(func() {
		if err := client.Close(); err != nil {
			t.Error(err)
		}
	})
	return client, peer
}

func dial(ctx context.Context, to Peer) (net.Conn, error) {
	return (&net.Dialer{}).DialContext(ctx, "tcp", to.Address)
}

func listen(t *testing.T, server *Server) (address string) {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	var group sync.WaitGroup
	group.Go(func() {
		for {
			conn, err := listener.Accept()
			if err != nil {
				return
			}
			group.Go(func() { _ = server.Serve(ctx, conn, "here") })
		}
	})
	t.Cleanup(func() {
		cancel()
		_ = listener.Close()
		group.Wait()
	})
	return listener.Addr().String()
}

func record(t testing.TB, requestID string) []byte {
	t.Helper()
	raw, err := audit.Encode(core.Txn{
		Meta: core.Meta{Principal: "agent:here", Verb: "v", RequestID: requestID, Time: time.Unix(1, 0)},
		Ops:  []core.Op{{Kind: core.KindNode, ID: "here", Value: []byte("{}")}},
	})
	if err != nil {
		t.Fatal(err)
	}
	return raw
}

func TestAnswers(t *testing.T) {
	client, peer := served(t, &Server{Handler: &store{}})
	answer, err := client.Propose(t.Context(), peer, record(t, "again"))
	want := core.Receipt{Origin: "o/1/1", Seq: 1, LeafHash: core.Hash{1, 2}, Replayed: true}
	if err != nil || answer.Receipt != want {
		t.Errorf("%+v, %v", answer, err)
	}
	if seq, err := client.ReadIndex(t.Context(), peer); err != nil || seq != 1 {
		t.Errorf("%d, %v", seq, err)
	}
	if p, err := client.Progress(t.Context(), peer); err != nil || p.Node != "there" || p.Seq != 1 || p.Contact != -1 {
		t.Errorf("%+v, %v", p, err)
	}
	head := core.TreeHead{Origin: "o/1/1", Size: 7, Root: core.Hash{3}}
	if got, err := client.Compare(t.Context(), peer, head); err != nil || got.Size != 7 || got.Root != (core.Hash{9}) {
		t.Errorf("%+v, %v", got, err)
	}
}

func TestErrorsKeepTheirMeaning(t *testing.T) {
	failing := &store{propose: func(time.Time, core.Txn) (core.Receipt, error) {
		e := core.Errorf(core.CodeConflict, "changed").WithObject(core.KindService, "web").WithHint("look again")
		e.RetryAfter = 250 * time.Millisecond
		return core.Receipt{}, fmt.Errorf("wrapped: %w", e)
	}}
	failing.seq.Store(41)
	client, peer := served(t, &Server{Handler: failing})
	answer, err := client.Propose(t.Context(), peer, record(t, ""))
	e, ok := core.AsError(err)
	if !ok || e.Code != core.CodeConflict || e.Message != "wrapped: changed" || e.Object != "service/web" || e.Hint != "look again" ||
		e.RetryAfter != 250*time.Millisecond || answer.Seen != 41 {
		t.Errorf("%+v, %+v", e, answer)
	}
}

func TestAuthorize(t *testing.T) {
	var asked string
	client, peer := served(t, &Server{Handler: &store{}, Authorize: func(peer string, txn *core.Txn) error {
		asked = peer + " " + txn.Meta.Principal + " " + string(txn.Ops[0].Kind)
		return core.Errorf(core.CodeDenied, "not yours")
	}})
	if _, err := client.Propose(t.Context(), peer, record(t, "")); core.CodeOf(err) != core.CodeDenied || asked != "here agent:here node" {
		t.Errorf("%v, asked about %q", err, asked)
	}
}

// TestManyAtATime has more requests under way than one connection could bring one after the other.
func TestManyAtATime(t *testing.T) {
	const requests = 500
	var waiting sync.WaitGroup
	waiting.Add(requests)
	all := &store{propose: func(_ time.Time, txn core.Txn) (core.Receipt, error) {
		waiting.Done()
		waiting.Wait() // all of them are here at once
		return core.Receipt{Origin: txn.Meta.RequestID}, nil
	}}
	client, peer := served(t, &Server{Handler: all})
	var group sync.WaitGroup
	for i := range requests {
		group.Go(func() {
			id := fmt.Sprint("request-", i)
			answer, err := client.Propose(t.Context(), peer, record(t, id))
			if err != nil || answer.Receipt.Origin != id {
				t.Errorf("%s: %+v, %v", id, answer, err)
			}
		})
	}
	group.Wait()
}

// TestDeadlineGoesWithTheRequest: the leader does not work for somebody who has gone.
func TestDeadlineGoesWithTheRequest(t *testing.T) {
	left := make(chan time.Duration, 1)
	slow := &store{propose: func(until time.Time, _ core.Txn) (core.Receipt, error) {
		left <- time.Until(until)
		<-t.Context().Done() // when the test is over
		return core.Receipt{}, core.Errorf(core.CodeTimeout, "gone")
	}}
	client, peer := served(t, &Server{Handler: slow})
	ctx, cancel := context.WithTimeout(t.Context(), time.Second)
	defer cancel()
	_, err := client.Propose(ctx, peer, record(t, ""))
	if core.CodeOf(err) != core.CodeTimeout {
		t.Error(err)
	}
	if got := <-left; got <= 0 || got > time.Second {
		t.Errorf("the leader had %s", got)
	}
}

// TestWhatIsSentIsUnknown: the connection breaks with one request on the way.
func TestWhatIsSentIsUnknown(t *testing.T) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer listener.Close() //nolint:errcheck // nothing to lose
	go func() {
		for {
			conn, err := listener.Accept()
			if err != nil {
				return
			}
			_, _ = io.ReadFull(conn, make([]byte, 20)) // some of the first request
			_ = conn.Close()
		}
	}()
	client := NewClient(dial, nil)
	defer client.Close() //nolint:errcheck // returns none
	peer := Peer{Node: "there", Address: listener.Addr().String()}
	if _, err := client.Propose(t.Context(), peer, record(t, "")); core.CodeOf(err) != core.CodeTimeout {
		t.Errorf("a request that was sent: %v", err)
	}
	_ = listener.Close()
	if _, err := client.Propose(t.Context(), peer, record(t, "")); core.CodeOf(err) != core.CodeUnavailable {
		t.Errorf("a request that could not be sent: %v", err)
	}
}

// TestUnsentIsUnavailable ends a connection with requests that were not written yet.
func TestUnsentIsUnavailable(t *testing.T) {
	l := newLink(Peer{Node: "there"}, nil)
	written, unwritten := &request{done: make(chan result, 1)}, &request{done: make(chan result, 1)}
	if err := l.add(written); err != nil {
		t.Fatal(err)
	}
	l.take()
	if err := l.add(unwritten); err != nil {
		t.Fatal(err)
	}
	l.end(errors.New("cut"))
	if r := <-written.done; core.CodeOf(r.err) != core.CodeTimeout {
		t.Error(r.err)
	}
	if r := <-unwritten.done; core.CodeOf(r.err) != core.CodeUnavailable {
		t.Error(r.err)
	}
	if err := l.add(&request{}); core.CodeOf(err) != core.CodeUnavailable {
		t.Error(err)
	}
}

// TestSilentPeer: one that accepts and never says anything is given up.
func TestSilentPeer(t *testing.T) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer listener.Close() //nolint:errcheck // nothing to lose
	client := NewClient(dial, nil)
	defer client.Close() //nolint:errcheck // returns none
	began := time.Now()
	_, err = client.Propose(t.Context(), Peer{Node: "there", Address: listener.Addr().String()}, record(t, ""))
	if core.CodeOf(err) != core.CodeTimeout || time.Since(began) < silence {
		t.Errorf("after %s: %v", time.Since(began), err)
	}
}

func TestBackPressure(t *testing.T) {
	l := newLink(Peer{Node: "there"}, nil)
	for range maxInFlight {
		if err := l.add(&request{}); err != nil {
			t.Fatal(err)
		}
	}
	e, ok := core.AsError(l.add(&request{}))
	if !ok || e.Code != core.CodeUnavailable || e.RetryAfter == 0 {
		t.Errorf("one request too many: %+v", e)
	}
	l = newLink(Peer{Node: "there"}, nil)
	for range maxInFlightBytes / core.MaxTxnBytes {
		if err := l.add(&request{frame: frame{payload: make([]byte, core.MaxTxnBytes)}}); err != nil {
			t.Fatal(err)
		}
	}
	if err := l.add(&request{}); core.CodeOf(err) != core.CodeUnavailable {
		t.Errorf("too many bytes: %v", err)
	}
}

// TestHostileFrames: the server ends the connection, or refuses the request, and goes on.
func TestHostileFrames(t *testing.T) {
	address := listen(t, &Server{Handler: &store{}})
	header := func(length uint32, kind byte) []byte {
		b := binary.BigEndian.AppendUint32(nil, length)
		return append(append(b, kind), make([]byte, 8)...)
	}
	for name, c := range map[string]struct {
		send []byte
		ends bool
		want string
	}{
		"too long":           {header(maxFrame+1, kindPropose), true, ""},
		"too short":          {header(3, kindPropose), true, ""},
		"no deadline":        {append(header(headerSize+1, kindPropose), 0), false, "without a deadline"},
		"no record":          {append(header(headerSize+9, kindPropose), 0, 0, 0, 0, 1, 2, 3, 4, 5), false, "invalid"},
		"unknown kind":       {header(headerSize, 50), false, "unsupported"},
		"an answer":          {header(headerSize, kindReceipt), false, "unsupported"},
		"no head":            {append(header(headerSize+1, kindCompare), '{'), false, "does not decode"},
		"deadline is missed": {append(header(headerSize+2, kindIndex), 0, 1), false, "without a deadline"},
	} {
		t.Run(name, func(t *testing.T) {
			conn, err := net.Dial("tcp", address)
			if err != nil {
				t.Fatal(err)
			}
			defer conn.Close() //nolint:errcheck // only read
			if _, err := conn.Write(c.send); err != nil {
				t.Fatal(err)
			}
			if !c.ends {
				if _, err := conn.Write(header(headerSize, kindPing)); err != nil {
					t.Fatal(err)
				}
			}
			_ = conn.SetReadDeadline(time.Now().Add(30 * time.Second))
			answer := make([]byte, 64<<10)
			n := 0
			for n < lengthSize+headerSize || !c.ends && !strings.Contains(string(answer[:n]), c.want) {
				read, err := conn.Read(answer[n:])
				if n += read; err != nil {
					if !c.ends || !errors.Is(err, io.EOF) && !strings.Contains(err.Error(), "reset") {
						t.Errorf("%v after %q", err, answer[:n])
					}
					break
				}
			}
		})
	}
}
