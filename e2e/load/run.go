package load

import (
	"context"
	"net/http"
	"strconv"
	"sync"
	"time"
)

// Run is a load under way.
type Run struct {
	config Config
	start  time.Time
	stop   context.CancelFunc
	users  sync.WaitGroup // everything that sends
	book   book
}

// Start begins the load; it goes on until Stop, until ctx ends, or for MaxDuration.
func Start(ctx context.Context, config Config) (*Run, error) {
	if err := config.check(); err != nil {
		return nil, err
	}
	if config.Timeout == 0 {
		config.Timeout = 10 * time.Second
	}
	if config.Host == "" {
		config.Host = config.Target
	}
	ctx, cancel := context.WithTimeout(ctx, MaxDuration)
	r := &Run{config: config, start: time.Now(), stop: cancel}
	for _, stream := range config.Streams {
		r.begin(ctx, stream)
	}
	return r, nil
}

// Stop ends the schedule, waits for the requests under way and returns all that was recorded.
func (r *Run) Stop() *Result {
	r.stop()
	r.users.Wait()
	b := &r.book
	return &Result{
		Start: r.start, Records: b.records, Judged: r.config.RevisionHeader != "",
		Sessions: b.sessions, Moved: b.moved, Lost: b.lost, Repeated: b.repeated, details: b.details,
	}
}

// Count returns how many requests have ended so far, and how many of them failed.
func (r *Run) Count() (requests, failed int) {
	r.book.mu.Lock()
	defer r.book.mu.Unlock()
	return len(r.book.records), r.book.failed
}

func (r *Run) begin(ctx context.Context, s Stream) {
	switch s.Kind {
	case KeepAlive:
		r.eachUser(s, func(plan schedule) { r.keepAlive(ctx, s, plan) })
	case WebSocket:
		r.eachUser(s, func(plan schedule) { r.webSocket(ctx, s, plan) })
	case HTTP2:
		clients := newHTTP2Clients(s.Users, r.config.Timeout)
		r.users.Go(func() {
			defer clients.close()
			r.open(ctx, s, func(n int, intended time.Duration) { r.http2(s, clients.pick(n), intended) })
		})
	default:
		r.users.Go(func() {
			r.open(ctx, s, func(n int, intended time.Duration) { r.fresh(s, n, intended) })
		})
	}
}

// eachUser starts the stream's users with schedules that interleave evenly.
func (r *Run) eachUser(s Stream, user func(schedule)) {
	think := time.Duration(float64(s.Users) / s.Rate * float64(time.Second))
	for u := range s.Users {
		plan := schedule{start: r.start, offset: think * time.Duration(u) / time.Duration(s.Users), every: think}
		r.users.Go(func() { user(plan) })
	}
}

// open sends each request of a stream at its time, whatever became of those before.
func (r *Run) open(ctx context.Context, s Stream, send func(n int, intended time.Duration)) {
	plan := schedule{start: r.start, every: time.Duration(float64(time.Second) / s.Rate)}
	var under sync.WaitGroup
	defer under.Wait()
	slots := make(chan struct{}, maxInFlight)
	for n := 0; plan.wait(ctx, n) && !r.book.full(); n++ {
		intended := plan.at(n)
		select {
		case slots <- struct{}{}:
		default:
			now := r.now()
			r.book.add(Record{
				Kind: s.Kind, Outcome: NotSent, Revision: NoRevision, Intended: intended, Begin: now, End: now,
			}, "too many requests under way")
			continue
		}
		under.Go(func() {
			defer func() { <-slots }()
			send(n, intended)
		})
	}
}

func (r *Run) now() time.Duration { return time.Since(r.start) }

// revision reads the answering revision from a header.
func (r *Run) revision(h http.Header) int32 {
	n, err := strconv.ParseInt(h.Get(r.config.RevisionHeader), 10, 32)
	if err != nil {
		return NoRevision
	}
	return int32(n)
}

// schedule is a constant sequence of intended starts.
type schedule struct {
	start         time.Time
	offset, every time.Duration
}

// at is the n-th intended start, from the run's start.
func (s schedule) at(n int) time.Duration { return s.offset + time.Duration(n)*s.every }

// wait returns at the n-th intended start, at once if that has passed; false if ctx ended first.
func (s schedule) wait(ctx context.Context, n int) bool {
	if ctx.Err() != nil {
		return false
	}
	left := time.Until(s.start.Add(s.at(n)))
	if left <= 0 {
		return true
	}
	timer := time.NewTimer(left)
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-ctx.Done():
		return false
	}
}
