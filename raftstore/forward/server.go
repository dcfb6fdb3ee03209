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
	defer context.AfterFunc(ctx, func() { _ = conn.Close() })() // if it has not run it runs below
	session := &session{server: s, peer: peer, conn: conn, answers: make(chan frame, 256)}
	var writer sync.WaitGroup
	writer.Go(func() {
		if err := session.write(ctx); err != nil {
			cancel(err)
		}
	})
	err := session.read(ctx)
	cancel(err)
	_ = conn.Close()
	session.work.Wait()
	writer.Wait()
	if cause := context.Cause(ctx); cause != nil && !errors.Is(cause, io.EOF) {
		return cause
	}
	return nil
}

// session is one connection.
type session struct {
	server  *Server
	peer    string
	conn    net.Conn
	answers chan frame
	work    sync.WaitGroup // the requests that are being answered

	mu       sync.Mutex
	inFlight int
	bytes    int
}

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
		if f.kind == kindPing {
			s.send(ctx, frame{kind: kindPong, id: f.id})
			continue
		}
		if !s.enter(len(f.payload)) {
			e := core.Errorf(core.CodeUnavailable, "node %q sends more requests at a time than are taken", s.peer)
			e.RetryAfter = 100 * time.Millisecond
			s.send(ctx, frame{kind: kindError, id: f.id, payload: encodeFailure(e, 0)})
			continue
		}
		s.work.Go(func() {
			defer s.leave(len(f.payload))
			kind, payload := s.handle(ctx, f)
			s.send(ctx, frame{kind: kind, id: f.id, payload: payload})
		})
	}
}

func (s *session) enter(size int) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.inFlight >= maxInFlight || s.bytes >= maxInFlightBytes {
		return false
	}
	s.inFlight++
	s.bytes += size
	return true
}

func (s *session) leave(size int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.inFlight--
	s.bytes -= size
}

func (s *session) send(ctx context.Context, f frame) {
	select {
	case s.answers <- f:
	case <-ctx.Done():
	}
}

// write sends answers; what has come together goes with one write.
func (s *session) write(ctx context.Context) error {
	w := bufio.NewWriterSize(s.conn, bufferSize)
	for {
		select {
		case f := <-s.answers:
			if err := s.writeBatch(w, f); err != nil {
				return err
			}
		case <-ctx.Done():
			return nil
		}
	}
}

func (s *session) writeBatch(w *bufio.Writer, f frame) error {
	if err := s.conn.SetWriteDeadline(time.Now().Add(clientSilence)); err != nil {
		return err
	}
	for {
		if err := f.writeTo(w); err != nil {
			return err
		}
		select {
		case f = <-s.answers:
		default:
			return w.Flush()
		}
	}
}

// handle answers one request.
func (s *session) handle(ctx context.Context, f frame) (kind byte, payload []byte) {
	handler := s.server.Handler
	var err error
	switch f.kind {
	case kindPropose:
		var receipt core.Receipt
		if receipt, err = s.propose(ctx, f.payload); err == nil {
			return kindReceipt, encodeReceipt(receipt)
		}
		return kindError, encodeFailure(err, handler.Progress().Seq)
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

// within gives a request the time that its sender has for it.
func within(ctx context.Context, payload []byte) (context.Context, context.CancelFunc, []byte, error) {
	left, rest, err := cutRemaining(payload)
	if err != nil || left == 0 {
		return ctx, func() {}, rest, err
	}
	ctx, cancel := context.WithTimeout(ctx, left)
	return ctx, cancel, rest, nil
}

func (s *session) propose(ctx context.Context, payload []byte) (core.Receipt, error) {
	ctx, cancel, record, err := within(ctx, payload)
	if err != nil {
		return core.Receipt{}, err
	}
	defer cancel()
	txn, err := audit.Decode(record)
	if err != nil {
		return core.Receipt{}, err
	}
	if s.server.Authorize != nil {
		if err := s.server.Authorize(s.peer, &txn); err != nil {
			if s.server.Logger != nil {
				s.server.Logger.Warn("refused a transaction of another node", "peer", s.peer, "verb", txn.Meta.Verb, "error", err)
			}
			return core.Receipt{}, err
		}
	}
	return s.server.Handler.Propose(ctx, txn)
}

func (s *session) readIndex(ctx context.Context, payload []byte) (uint64, error) {
	ctx, cancel, _, err := within(ctx, payload)
	if err != nil {
		return 0, err
	}
	defer cancel()
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
