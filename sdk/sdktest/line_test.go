package sdktest_test

import (
	"bytes"
	"context"
	"errors"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httputil"
	"strconv"
	"sync"
	"time"

	"github.com/instarhq/instar/sdk"
)

// line is one listener of the plane.
type line struct {
	plane    *plane
	address  string
	listener net.Listener
	server   *http.Server // nil: TCP

	mu    sync.Mutex
	conns map[net.Conn]bool // TCP
}

// shut refuses what is new; what is in flight goes on.
func (l *line) shut() {
	_ = l.listener.Close() // nothing of it is of use any more
	if l.server != nil {
		go func() { _ = l.server.Shutdown(context.Background()) }() // ends with the last request
	}
}

// close ends everything.
func (l *line) close() {
	_ = l.listener.Close() // nothing of it is of use any more
	if l.server != nil {
		_ = l.server.Close()
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	for conn := range l.conns {
		_ = conn.Close()
	}
}

// claim chooses the endpoint of a request, under the lock that a switch takes.
func (p *plane) claim(r *planeRoute, preview string) *member {
	p.mu.Lock()
	defer p.mu.Unlock()
	spec := r.spec
	if p.is("returns before requests follow") && r.before.Generation > 0 {
		spec = r.before
	}
	var choice []string
	for _, pool := range spec.Pools {
		weight := pool.Weight
		if p.is("ignores weights") {
			weight = 1
		}
		if preview != "" {
			weight = 0
			if strconv.Itoa(pool.Revision) == preview && (pool.Preview || p.is("preview is reachable when it is not set")) {
				weight = 1
			}
		}
		for range weight {
			for _, e := range pool.Endpoints {
				choice = append(choice, e.ID)
			}
		}
	}
	if len(choice) == 0 {
		return nil
	}
	r.turn++
	m := r.members[choice[r.turn%len(choice)]]
	if m == nil { // only where something is wrong
		return nil
	}
	m.InFlight++
	return m
}

// done ends what claim began.
func (p *plane) done(r *planeRoute, m *member, began time.Time, reached bool, failure error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if !p.is("draining requests never end") || m.inRoute {
		m.InFlight--
	}
	m.Requests++
	m.times = append(m.times, time.Since(began))
	if failure != nil && !p.is("does not count errors") {
		m.Errors++
	}
	m.State = sdk.EndpointUp
	if !reached && !p.is("a dead endpoint is up") {
		m.State = sdk.EndpointDown
	}
	p.ended(r)
}

// wait holds a request; false: it is over the limit.
func (p *plane) wait(r *planeRoute) bool {
	p.mu.Lock()
	held := r.held
	if held == nil {
		p.mu.Unlock()
		return true
	}
	if r.waiting >= r.limit || p.is("a held request fails over quickly") {
		p.mu.Unlock()
		return false
	}
	r.waiting++
	p.mu.Unlock()
	<-held
	p.mu.Lock()
	r.waiting--
	p.mu.Unlock()
	return true
}

// ServeHTTP carries one request.
func (l *line) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	l.plane.mu.Lock()
	route := l.plane.match(l.address, r.Host, r.URL.Path)
	l.plane.mu.Unlock()
	if route == nil {
		w.WriteHeader(http.StatusNotFound)
		return
	}
	if !l.plane.wait(route) {
		w.WriteHeader(http.StatusServiceUnavailable)
		return
	}
	preview := r.Header.Get(sdk.PreviewHeader)
	m := l.plane.claim(route, preview)
	switch {
	case m == nil && l.plane.is("waits where there is nobody to send to"):
		<-r.Context().Done()
	case m == nil && preview != "" || m == nil && l.plane.is("calls a route without pools unknown"):
		w.WriteHeader(http.StatusNotFound)
	case m == nil:
		w.WriteHeader(http.StatusServiceUnavailable)
	default:
		l.forward(w, r, route, m)
	}
}

// forward is the standard library's proxy.
func (l *line) forward(w http.ResponseWriter, r *http.Request, route *planeRoute, m *member) {
	began, reached := time.Now(), true
	var failure error
	ctx, cancel := context.WithCancel(r.Context())
	defer cancel()
	defer context.AfterFunc(m.ctx, cancel)()
	proxy := httputil.ReverseProxy{
		Rewrite: func(pr *httputil.ProxyRequest) {
			pr.Out.URL.Scheme, pr.Out.URL.Host = "http", m.Address
			if !l.plane.is("passes the preview header on") {
				pr.Out.Header.Del(sdk.PreviewHeader)
			}
			if l.plane.is("passes on the first MiB of a body") && pr.Out.Body != nil {
				pr.Out.Body, pr.Out.ContentLength = io.NopCloser(io.LimitReader(pr.Out.Body, 1<<20)), -1
			}
		},
		FlushInterval: -1,
		ModifyResponse: func(resp *http.Response) error {
			if resp.StatusCode >= 500 {
				failure = errors.New(resp.Status)
			}
			if l.plane.is("keeps an answer until it is whole") && resp.StatusCode != http.StatusSwitchingProtocols {
				return whole(resp)
			}
			return nil
		},
		ErrorHandler: func(w http.ResponseWriter, r *http.Request, err error) {
			failure, reached = err, r.Context().Err() != nil
			w.WriteHeader(http.StatusBadGateway)
		},
		ErrorLog: log.New(io.Discard, "", 0),
	}
	defer func() { l.plane.done(route, m, began, reached, failure) }()
	proxy.ServeHTTP(w, r.WithContext(ctx))
}

// whole reads an answer to its end before any of it is passed on.
func whole(resp *http.Response) error {
	data, err := io.ReadAll(resp.Body)
	resp.Body = io.NopCloser(bytes.NewReader(data))
	return err
}

// accept carries TCP connections.
func (l *line) accept() {
	for {
		conn, err := l.listener.Accept()
		if err != nil {
			return
		}
		l.mu.Lock()
		l.conns[conn] = true
		l.mu.Unlock()
		go func() {
			l.carry(conn)
			_ = conn.Close() // both directions are done
			l.mu.Lock()
			delete(l.conns, conn)
			l.mu.Unlock()
		}()
	}
}

func (l *line) carry(conn net.Conn) {
	l.plane.mu.Lock()
	route := l.plane.match(l.address, "", "")
	l.plane.mu.Unlock()
	if route == nil {
		return
	}
	m := l.plane.claim(route, "")
	if m == nil {
		return
	}
	began := time.Now()
	other, err := net.Dial("tcp", m.Address)
	if err == nil {
		defer context.AfterFunc(m.ctx, func() { _ = conn.Close() })()
		go func() {
			_, _ = io.Copy(other, conn)
			_ = other.Close() // ends the other direction
		}()
		_, _ = io.Copy(conn, other)
	}
	l.plane.done(route, m, began, err == nil, err)
}
