package sdktest_test

import (
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"slices"
	"strconv"
	"sync"
	"time"

	"github.com/instarhq/instar/sdk"
	"github.com/instarhq/instar/sdk/sdktest"
)

// plane is a small but real HTTP data plane in front of NoopTraffic's bookkeeping: the suite's checks with
// requests are checked on it. It lives in the driver's process, so it has no Reopen.
type plane struct {
	*sdktest.NoopTraffic
	mu    sync.Mutex
	lines map[string]*line

	// What is wrong with it, for the drivers that must fail.
	cutInFlight   bool // a switch ends what is in flight on the old endpoints
	forwardHeader bool // the preview header is passed on
	ignoreWeights bool // every pool gets requests
	stale         bool // Apply returns before new requests follow it
}

// line is the listener of one route.
type line struct {
	plane    *plane
	server   *http.Server
	mu       sync.Mutex
	route    sdk.Route
	turn     int
	members  map[string]*member // by endpoint, also those that have left
	held     chan struct{}      // closed by Release; nil: not held
	limit    int
	waiting  int
	previous sdk.Route
}

type member struct {
	sdk.EndpointObservation
	inRoute bool
	ctx     context.Context
	cut     context.CancelFunc
	times   []time.Duration
}

func newMember(e sdk.Endpoint) *member {
	m := &member{EndpointObservation: sdk.EndpointObservation{ID: e.ID, Address: e.Address, State: sdk.EndpointUp}}
	m.ctx, m.cut = context.WithCancel(context.Background())
	return m
}

func newPlane() *plane {
	return &plane{NoopTraffic: sdktest.NewNoopTraffic(nil), lines: map[string]*line{}}
}

func (p *plane) Describe(ctx context.Context) (sdk.Description, error) {
	d, err := p.NoopTraffic.Describe(ctx)
	d.Capabilities = []sdk.Capability{sdk.CapHTTP, sdk.CapHold}
	return d, err
}

func (p *plane) Apply(ctx context.Context, r sdk.Route) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	before, _ := p.NoopTraffic.Observe(ctx, r.ID)
	if err := p.NoopTraffic.Apply(ctx, r); err != nil || before.Generation == r.Generation {
		return err
	}
	l, ok := p.lines[r.ID]
	if !ok {
		listener, err := net.Listen("tcp", r.Listen)
		if err != nil {
			return sdk.Unavailable(0, "listening on %s: %w", r.Listen, err)
		}
		l = &line{plane: p, members: map[string]*member{}}
		l.server = &http.Server{Handler: l, ReadHeaderTimeout: time.Minute}
		go func() { _ = l.server.Serve(listener) }()
		p.lines[r.ID] = l
	}
	l.apply(r)
	return nil
}

func (l *line) apply(r sdk.Route) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.previous, l.route = l.route, r
	for _, m := range l.members {
		m.inRoute = false
	}
	for _, p := range r.Pools {
		for _, e := range p.Endpoints {
			m, ok := l.members[e.ID]
			if !ok {
				m = newMember(e)
				l.members[e.ID] = m
			}
			m.inRoute = true
		}
	}
	for id, m := range l.members {
		if !m.inRoute && l.plane.cutInFlight {
			m.cut()
		}
		if !m.inRoute && m.InFlight == 0 {
			delete(l.members, id)
		}
	}
}

func (p *plane) Observe(ctx context.Context, id string) (sdk.Observation, error) {
	o, err := p.NoopTraffic.Observe(ctx, id)
	p.mu.Lock()
	l := p.lines[id]
	p.mu.Unlock()
	if err != nil || l == nil {
		return o, err
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	o.Held = l.waiting
	for _, pool := range o.Pools {
		for n, e := range pool.Endpoints {
			m := l.members[e.ID]
			e = m.EndpointObservation
			slices.Sort(m.times)
			if n := len(m.times); n > 0 {
				e.Latency = sdk.Latency{P50: m.times[n/2], P90: m.times[n*9/10], P99: m.times[n*99/100], Max: m.times[n-1], Count: uint64(n)}
			}
			pool.Endpoints[n] = e
		}
	}
	for _, m := range l.members {
		if !m.inRoute {
			e := m.EndpointObservation
			e.State = sdk.EndpointDraining
			o.Draining = append(o.Draining, e)
		}
	}
	return o, nil
}

func (p *plane) Remove(ctx context.Context, id string, generation uint64, drain time.Duration) error {
	if err := p.NoopTraffic.Remove(ctx, id, generation, drain); err != nil {
		return err
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if l := p.lines[id]; l != nil {
		delete(p.lines, id)
		return l.server.Close()
	}
	return nil
}

func (p *plane) Hold(_ context.Context, id string, limits sdk.HoldLimits) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	l := p.lines[id]
	if l == nil {
		return sdk.NotFound("there is no route %q", id)
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	held := make(chan struct{})
	l.held, l.limit = held, limits.Requests
	if limits.Requests == 0 {
		l.limit = 1000
	}
	time.AfterFunc(limits.Timeout, func() { l.release(held) })
	return nil
}

func (p *plane) Release(_ context.Context, id string) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	l := p.lines[id]
	if l == nil {
		return sdk.NotFound("there is no route %q", id)
	}
	l.mu.Lock()
	held := l.held
	l.mu.Unlock()
	l.release(held)
	return nil
}

func (l *line) release(held chan struct{}) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if held != nil && l.held == held {
		close(held)
		l.held = nil
	}
}

// claim chooses the endpoint of a request under the lock that a switch takes.
func (l *line) claim(preview string) *member {
	l.mu.Lock()
	defer l.mu.Unlock()
	route := l.route
	if l.plane.stale && l.previous.Generation > 0 {
		route = l.previous
	}
	var choice []string
	for _, p := range route.Pools {
		weight := p.Weight
		if l.plane.ignoreWeights {
			weight = 1
		}
		if preview != "" {
			weight = 0
			if p.Preview && strconv.Itoa(p.Revision) == preview {
				weight = 1
			}
		}
		for range weight {
			for _, e := range p.Endpoints {
				choice = append(choice, e.ID)
			}
		}
	}
	if len(choice) == 0 {
		return nil
	}
	l.turn++
	m := l.members[choice[l.turn%len(choice)]]
	if m != nil {
		m.InFlight++
	}
	return m
}

// wait holds a request; false: it is over the limit.
func (l *line) wait() bool {
	l.mu.Lock()
	held := l.held
	if held == nil {
		l.mu.Unlock()
		return true
	}
	if l.waiting >= l.limit {
		l.mu.Unlock()
		return false
	}
	l.waiting++
	l.mu.Unlock()
	<-held
	l.mu.Lock()
	l.waiting--
	l.mu.Unlock()
	return true
}

func (l *line) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if !l.wait() {
		w.WriteHeader(http.StatusServiceUnavailable)
		return
	}
	preview := r.Header.Get(sdk.PreviewHeader)
	m := l.claim(preview)
	if m == nil {
		w.WriteHeader(http.StatusNotFound)
		return
	}
	began := time.Now()
	err := l.forward(w, r, m)
	l.mu.Lock()
	defer l.mu.Unlock()
	m.InFlight--
	m.Requests++
	m.times = append(m.times, time.Since(began))
	if err != nil {
		m.Errors++
	}
	if !m.inRoute && m.InFlight == 0 {
		delete(l.members, m.ID)
	}
}

func (l *line) forward(w http.ResponseWriter, r *http.Request, m *member) error {
	ctx, cancel := context.WithCancel(r.Context())
	defer cancel()
	defer context.AfterFunc(m.ctx, cancel)()
	out := r.Clone(ctx)
	out.RequestURI = ""
	out.URL.Scheme, out.URL.Host = "http", m.Address
	if !l.plane.forwardHeader {
		out.Header.Del(sdk.PreviewHeader)
	}
	resp, err := http.DefaultTransport.RoundTrip(out)
	if err != nil {
		w.WriteHeader(http.StatusBadGateway)
		return err
	}
	w.WriteHeader(resp.StatusCode)
	_, err = io.Copy(w, resp.Body)
	return errors.Join(err, resp.Body.Close())
}
