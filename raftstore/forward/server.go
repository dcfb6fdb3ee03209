package forward

import (
	"bufio"
	"context"
	"encoding/binary"
	"encoding/json"
	"errors"
	"io"
	"net"
	"sync"
	"time"

	"github.com/hashicorp/go-hclog"

	"github.com/instarhq/instar/core"
	"github.com/instarhq/instar/core/audit"
)

// clientSilence is for how long a client may say nothing; it pings every second.
const clientSilence = 15 * time.Second

// Server answers the questions of other nodes.
type Server struct {
	Handler Handler
	// Authorize says whether a peer may propose a transaction; nil: it may propose everything. What it
	// changes in the transaction is what is proposed.
	Authorize func(peer string, txn *core.Txn) error
	Logger    hclog.Logger // nil: none
}

// Serve answers on a connection of a peer until it ends, closes it and says why it ended; nil: the peer
// has closed it.
func (s *Server) Serve(ctx context.Context, conn net.Conn, peer string) error {
	ctx, cancel := context.WithCancelCause(ctx)
	stop := context.AfterFunc(ctx, func() { _ = conn.Close() }) // unblocks both
	session := &session{server: s, peer: peer, conn: conn, wake: make(chan struct{}, 1)}
	var writer sync.WaitGroup
	writer.Go(func() {
		if err := session.write(ctx); err != nil {
			cancel(err)
		}
	})
	cancel(session.read(ctx))
	if stop() {
		_ = conn.Close()
	}
	session.work.Wait()
	writer.Wait()
	if cause := context.Cause(ctx); !errors.Is(cause, io.EOF) {
		return cause
	}
	return nil
}

// session is one connection. Transactions are decoded one after the other and wait without a goroutine, so
// that however many there are, they do not keep Raft from its turn on the processors.
type session struct {
	server *Server
	peer   string
	conn   net.Conn
	wake   chan struct{}  // has an element when answers is not empty
	work   sync.WaitGroup // requests that have a goroutine

	mu       sync.Mutex
	inFlight int // read, and the answer is not written yet
	bytes    int // of their payloads
	answers  []answered
}

// answered is an answer, and the size of what it answers.
type answered struct {
	frame
	size int
}

// A client does not have more than maxInFlight requests that it waits for, but may have given up others.
const maxUnanswered = 4 * maxInFlight

var errFlood = errors.New("far more requests at a time than are taken")

func (s *session) read(ctx context.Context) error {
	r := bufio.NewReaderSize(s.conn, bufferSize)
	for {
		if r.Buffered() == 0 {
			if err := s.conn.SetReadDeadline(time.Now().Add(clientSilence)); err != nil {
				return err
			}
		}
		f, err := readFrame(r)
		if err != nil {
			return err
		}
		requests, bytes := s.enter(len(f.payload))
		switch {
		case requests > maxUnanswered || bytes > 2*maxInFlightBytes:
			return errFlood
		case f.kind == kindPing:
			s.send(f, kindPong, nil)
		case requests > maxInFlight || bytes > maxInFlightBytes:
			e := core.Errorf(core.CodeUnavailable, "node %q sends more requests at a time than are taken", s.peer)
			e.RetryAfter = 100 * time.Millisecond
			s.send(f, kindError, encodeFailure(e, 0))
		case f.kind == kindPropose:
			s.propose(f)
		default:
			s.work.Go(func() {
				kind, payload := s.handle(ctx, f)
				s.send(f, kind, payload)
			})
		}
	}
}

func (s *session) enter(size int) (requests, bytes int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.inFlight++
	s.bytes += size
	return s.inFlight, s.bytes
}

// send queues the answer to f. It does not block: what is queued is bounded by what is in flight.
func (s *session) send(f frame, kind byte, payload []byte) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.answers = append(s.answers, answered{frame{kind: kind, id: f.id, payload: payload}, len(f.payload)})
	select {
	case s.wake <- struct{}{}:
	default:
	}
}

// take gives what is to be written.
func (s *session) take() []answered {
	s.mu.Lock()
	defer s.mu.Unlock()
	batch := s.answers
	s.answers = nil
	return batch
}

func (s *session) leave(batch []answered) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.inFlight -= len(batch)
	for i := range batch {
		s.bytes -= batch[i].size
	}
}

// write sends answers; what has come together goes with one write.
func (s *session) write(ctx context.Context) error {
	w := bufio.NewWriterSize(s.conn, bufferSize)
	for {
		select {
		case <-s.wake:
		case <-ctx.Done():
			return nil
		}
		if err := s.conn.SetWriteDeadline(time.Now().Add(clientSilence)); err != nil {
			return err
		}
		for batch := s.take(); len(batch) > 0; batch = s.take() {
			for i := range batch {
				if err := batch[i].writeTo(w); err != nil {
					return err
				}
			}
			s.leave(batch)
		}
		if err := w.Flush(); err != nil {
			return err
		}
	}
}

// propose decodes a transaction and hands it on.
func (s *session) propose(f frame) {
	fail := func(err error) { s.send(f, kindError, encodeFailure(err, s.server.Handler.Progress().Seq)) }
	left, record, err := cutRemaining(f.payload)
	if err != nil {
		fail(err)
		return
	}
	txn, err := audit.Decode(record)
	if err == nil && s.server.Authorize != nil {
		if err = s.server.Authorize(s.peer, &txn); err != nil && s.server.Logger != nil {
			s.server.Logger.Warn("refused a transaction of another node", "peer", s.peer, "verb", txn.Meta.Verb, "error", err)
		}
	}
	if err != nil {
		fail(err)
		return
	}
	var until time.Time
	if left > 0 {
		until = time.Now().Add(left)
	}
	s.server.Handler.Propose(txn, until, func(receipt core.Receipt, err error) {
		if err != nil {
			fail(err)
			return
		}
		s.send(f, kindReceipt, encodeReceipt(receipt))
	})
}

// handle answers one of the other requests.
func (s *session) handle(ctx context.Context, f frame) (kind byte, payload []byte) {
	handler := s.server.Handler
	var err error
	switch f.kind {
	case kindIndex:
		var seq uint64
		if seq, err = s.readIndex(ctx, f.payload); err == nil {
			return kindSeq, binary.BigEndian.AppendUint64(nil, seq)
		}
	case kindProgress:
		if payload, err = json.Marshal(handler.Progress()); err == nil {
			return kindReport, payload
		}
	case kindCompare:
		if payload, err = s.compare(ctx, f.payload); err == nil {
			return kindHead, payload
		}
	default:
		err = core.Errorf(core.CodeUnsupported, "a request of kind %d, which this instard does not know", f.kind).
			WithHint("all nodes of a cluster should run the same version of instard")
	}
	return kindError, encodeFailure(err, 0)
}

func (s *session) readIndex(ctx context.Context, payload []byte) (uint64, error) {
	left, _, err := cutRemaining(payload)
	if err != nil {
		return 0, err
	}
	if left > 0 {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, left)
		defer cancel()
	}
	return s.server.Handler.ReadIndex(ctx)
}

func (s *session) compare(ctx context.Context, payload []byte) ([]byte, error) {
	var head core.TreeHead
	if err := json.Unmarshal(payload, &head); err != nil {
		return nil, core.Errorf(core.CodeInvalid, "the tree head does not decode: %w", err)
	}
	mine, err := s.server.Handler.Compare(ctx, s.peer, head)
	if err != nil {
		return nil, err
	}
	return json.Marshal(mine)
}
