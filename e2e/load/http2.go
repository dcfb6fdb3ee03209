package load

import (
	"context"
	"fmt"
	"net/http"
	"net/http/httptrace"
	"sync/atomic"
	"time"
)

// http2Clients are a few clients with one HTTP/2 connection each.
type http2Clients []*http.Client

func newHTTP2Clients(n int, timeout time.Duration) http2Clients {
	var protocols http.Protocols
	protocols.SetUnencryptedHTTP2(true)
	clients := make(http2Clients, n)
	for i := range clients {
		clients[i] = &http.Client{
			Timeout:       timeout,
			Transport:     &http.Transport{Protocols: &protocols, DialContext: dialer(timeout).DialContext},
			CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
		}
	}
	return clients
}

func (c http2Clients) pick(n int) *http.Client { return c[n%len(c)] }

func (c http2Clients) close() {
	for _, client := range c {
		client.CloseIdleConnections()
	}
}

// http2 sends one request on a client's shared connection. The protocol lets a client send a request
// again that the server says it has not looked at (RFC 9113, section 8.7); that is no failure, but
// counted.
func (r *Run) http2(s Stream, client *http.Client, intended time.Duration) {
	record := Record{Kind: s.Kind, Revision: NoRevision, Intended: intended, Begin: r.now()}
	var connections, first atomic.Int64 // the trace is called from the transport's goroutines
	trace := &httptrace.ClientTrace{
		GotConn:              func(httptrace.GotConnInfo) { connections.Add(1) },
		GotFirstResponseByte: func() { first.Store(int64(r.now())) },
	}
	ctx := httptrace.WithClientTrace(context.Background(), trace)
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+r.config.Target+s.Path, nil)
	if err != nil {
		r.failed(record, TransportError, err)
		return
	}
	req.Host = r.config.Host
	res, err := client.Do(req)
	record.FirstByte = time.Duration(first.Load())
	if connections.Load() > 1 {
		r.book.count(&r.book.repeated)
	}
	if err != nil {
		r.failed(record, TransportError, err)
		return
	}
	defer func() { _ = res.Body.Close() }()
	if res.ProtoMajor != 2 {
		r.failed(record, WrongBody, fmt.Errorf("answered with %s, not HTTP/2", res.Proto))
		return
	}
	r.judge(s, res, nil, record)
}
