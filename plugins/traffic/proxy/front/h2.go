package front

import (
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"strconv"
	"sync"
	"time"

	"github.com/hashicorp/go-hclog"

	"github.com/instarhq/instar/plugins/traffic/proxy/http1"
	"github.com/instarhq/instar/plugins/traffic/proxy/route"
)

// handoff is a net.Listener whose connections come from elsewhere.
type handoff struct {
	addr  net.Addr
	conns chan net.Conn
	once  sync.Once
	done  chan struct{}
}

// Accept implements net.Listener.
func (h *handoff) Accept() (net.Conn, error) {
	select {
	case c := <-h.conns:
		return c, nil
	case <-h.done:
		return nil, net.ErrClosed
	}
}

// Close implements net.Listener.
func (h *handoff) Close() error {
	h.once.Do(func() { close(h.done) })
	return nil
}

// Addr implements net.Listener.
func (h *handoff) Addr() net.Addr { return h.addr }

// serveH2 gives a connection that speaks HTTP/2 to net/http.
func (l *Listener) serveH2(c net.Conn) {
	l.h2once.Do(func() { l.h2, l.h2queue = l.startH2() })
	select {
	case l.h2queue.conns <- c:
		return
	case <-l.h2queue.done:
	}
	// It came while the listener closed: it is served, and told to go with its first answer.
	late, queue := l.startH2()
	queue.conns <- c
	_ = queue.Close()
	_ = late // lives as long as the connection
}

func (l *Listener) startH2() (*http.Server, *handoff) {
	settings := l.server.settings.Load()
	protocols := new(http.Protocols)
	protocols.SetHTTP2(true)
	protocols.SetUnencryptedHTTP2(true)
	h2 := &http.Server{
		Handler: &h2Handler{listener: l}, Protocols: protocols,
		MaxHeaderBytes: maxHead, IdleTimeout: settings.IdleTimeout, ReadHeaderTimeout: settings.ReadHeaderTimeout,
		HTTP2:    &http.HTTP2Config{SendPingTimeout: stallTimeout, WriteByteTimeout: stallTimeout},
		ErrorLog: l.server.logger.Named("http2").StandardLogger(&hclog.StandardLoggerOptions{ForceLevel: hclog.Debug}),
	}
	queue := &handoff{addr: l.ln.Addr(), conns: make(chan net.Conn), done: make(chan struct{})}
	go func() { _ = h2.Serve(queue) }() // ends when the queue is closed, and has no other error
	return h2, queue
}

// goAwayDelay is how long HTTP/2 clients are given to make a request, whose answer tells them to go. A
// GOAWAY out of the blue could cross a request, and a client cannot always send that again.
const goAwayDelay = 2 * time.Second

// closeH2 makes HTTP/2 clients go, sooner or later; their requests in flight go on.
func (l *Listener) closeH2() {
	l.h2once.Do(func() { l.h2queue = &handoff{done: make(chan struct{})} })
	_ = l.h2queue.Close()
	if l.h2 == nil {
		return
	}
	time.AfterFunc(goAwayDelay, func() {
		gone, cancel := context.WithCancel(context.Background())
		cancel()
		_ = l.h2.Shutdown(gone) // it has begun; Server.Drained waits for the connections
	})
}

// h2Handler passes requests of HTTP/2 on.
type h2Handler struct{ listener *Listener }

// ServeHTTP implements http.Handler.
func (h *h2Handler) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	s := &stream{listener: h.listener, w: w, r: r, control: http.NewResponseController(w)}
	settings := h.listener.server.settings.Load()
	s.x.init(settings.ConnectPatience, nil, nil)
	s.x.begin(time.Now())
	s.setEnd()
	s.peer.secure = r.TLS != nil
	s.peer.setAddress(r.RemoteAddr, settings)
	if err := s.convert(); err != nil {
		malformed(err).write(w)
		return
	}
	stop := context.AfterFunc(r.Context(), s.x.closeUpstream)
	defer stop()
	s.serve()
}

// stream is one request of HTTP/2.
type stream struct {
	listener *Listener
	w        http.ResponseWriter
	r        *http.Request
	control  *http.ResponseController
	peer     peer
	req      http1.Request
	x        exchange
	pump     chan error
	readBy   time.Time
	writeBy  time.Time
	started  bool
}

// convert makes an HTTP/1.1 request of it, with the same checks: net/http takes more as a target than may
// stand in a request line.
func (s *stream) convert() error {
	r := s.r
	target := []byte(r.RequestURI)
	s.req = http1.Request{Method: []byte(r.Method), Target: target, Host: []byte(r.Host), Minor: 1}
	if r.Method == http.MethodConnect {
		return &http1.Error{Status: 405, Reason: "CONNECT is not supported"}
	}
	if !http1.ValidMethod(s.req.Method) || !http1.ValidTarget(target) || !http1.ValidHost(s.req.Host) ||
		target[0] != '/' && (r.RequestURI != "*" || r.Method != http.MethodOptions) {
		return &http1.Error{Status: 400, Reason: "malformed request"}
	}
	s.req.SetPath()
	for name, values := range r.Header {
		field := []byte(name)
		for _, v := range values {
			f := http1.Field{Name: field, Value: []byte(v), Kind: http1.KindOf(field)}
			if !http1.ValidName(f.Name) || !http1.ValidValue(f.Value) {
				return &http1.Error{Status: 400, Reason: "malformed header field"}
			}
			if f.Kind == http1.KindPreview {
				s.req.Preview = f.Value
			}
			s.req.Fields = append(s.req.Fields, f)
		}
	}
	if len(r.Trailer) > 0 { // announced; net/http has taken the field away
		for name := range r.Trailer {
			s.req.Fields = append(s.req.Fields, http1.Field{Name: []byte("Trailer"), Value: []byte(name)})
		}
	}
	s.req.Length = r.ContentLength
	s.req.Chunked = r.ContentLength < 0
	s.req.Sized = r.ContentLength > 0 || r.ContentLength == 0 && r.Header.Get("Content-Length") != ""
	return nil
}

func (s *stream) serve() {
	ask := route.Ask{Now: s.x.began, Away: s.r.Context().Done}
	if s.req.Preview != nil {
		var err error
		if ask.Preview, err = strconv.Atoi(string(s.req.Preview)); err != nil || ask.Preview < 1 {
			noPreview.write(s.w)
			return
		}
	}
	defer s.x.flight.Reset()
	for repeats := 0; ; repeats++ {
		r := s.listener.find(&s.req)
		if r == nil {
			noRoute.write(s.w)
			return
		}
		options := r.Options()
		if options.MaxBody > 0 && s.req.Length > options.MaxBody {
			tooLarge.write(s.w)
			return
		}
		empty := s.req.Length == 0
		if err := s.x.reach(s.r.Context(), r, ask, !empty); err != nil {
			if errors.Is(err, route.ErrGone) && repeats < maxRepeats {
				continue
			}
			refusal(err).write(s.w)
			return
		}
		s.send(empty, options)
		err := s.receive(options)
		if err != nil && empty && repeats < maxRepeats && s.x.repeatable(err) {
			s.x.again()
			ask.Now = time.Now()
			continue
		}
		s.end(err)
		return
	}
}

func (s *stream) send(empty bool, options *route.Options) {
	_, _ = s.x.up.Write(s.peer.appendRequest(nil, &s.req))
	if empty {
		return
	}
	s.pump = make(chan error, 1)
	s.x.sending.Store(true)
	go func() {
		err := s.sendBody(options.MaxBody)
		s.x.sending.Store(false)
		s.pump <- err
		if err != nil && !errors.Is(err, errEndpoint) {
			s.x.closeUpstream()
		}
	}()
}

func (s *stream) sendBody(limit int64) error {
	buf := h2buffers.Get().(*h2buffer)
	defer h2buffers.Put(buf)
	var total int64
	for {
		if now := time.Now(); s.readBy.Sub(now) < stallTimeout/2 {
			s.readBy = now.Add(stallTimeout)
			_ = s.control.SetReadDeadline(s.readBy)
		}
		n, err := s.r.Body.Read(buf[http1.ChunkRoom : len(buf)-http1.ChunkTail])
		if total += int64(n); limit > 0 && total > limit {
			return errTooLarge
		}
		out := buf[http1.ChunkRoom : http1.ChunkRoom+n]
		if s.req.Chunked {
			if out = out[:0]; n > 0 {
				out = http1.Chunk(buf[:], n)
			}
			if errors.Is(err, io.EOF) {
				out = http1.AppendLastChunk(out, fieldsOf(s.r.Trailer))
			}
		}
		if len(out) > 0 {
			if _, werr := s.x.up.Write(out); werr != nil {
				return errEndpoint
			}
		}
		switch {
		case err == nil:
		case errors.Is(err, io.EOF):
			return nil
		default:
			return errClient
		}
	}
}

// h2buffer is what each direction of an HTTP/2 request borrows. It is small, because many may be open and
// silent on one connection.
type h2buffer [http1.ChunkRoom + 16<<10 + http1.ChunkTail]byte

var h2buffers = sync.Pool{New: func() any { return new(h2buffer) }}

func fieldsOf(h http.Header) []http1.Field {
	var fields []http1.Field
	for name, values := range h {
		for _, v := range values {
			f := http1.Field{Name: []byte(name), Value: []byte(v), Kind: http1.KindOf([]byte(name))}
			if http1.ValidName(f.Name) && http1.ValidValue(f.Value) {
				fields = append(fields, f)
			}
		}
	}
	return fields
}
