package client

import (
	"bufio"
	"context"
	"encoding/json"
	"io"
	"iter"
	"net/http"
	"net/url"
	"strconv"
	"time"

	"github.com/instarhq/instar/core"
)

// Events selects what Notices yields.
type Events struct {
	After     uint64        // begin after this sequence number; 0 with neither FromStart nor Since: now
	FromStart bool          // begin with the first record
	Since     time.Duration // begin so long ago
	Follow    bool          // go on with what happens from now on
	Service   string        // only what is about this service; empty: everything
}

// Notices yields what happened, oldest first, and reconnects by itself, where it was. Without Follow it ends
// with what there was when it was called; with it, with ctx's error or the daemon's refusal.
func (c *Client) Notices(ctx context.Context, e Events) iter.Seq2[core.Notice, error] {
	return func(yield func(core.Notice, error) bool) {
		delay := 100 * time.Millisecond
		for attempt := 1; ; attempt++ {
			complete, err := c.noticesOnce(ctx, &e, func(n core.Notice) bool {
				delay, attempt = 100*time.Millisecond, 0
				return yield(n, nil)
			})
			switch {
			case complete:
				return
			case ctx.Err() != nil:
				yield(core.Notice{}, ctx.Err())
				return
			case err != nil && (!core.Retryable(err) || !e.Follow && attempt == attempts):
				yield(core.Notice{}, err)
				return
			}
			select {
			case <-time.After(delay):
				delay = min(2*delay, 5*time.Second)
			case <-ctx.Done():
			}
		}
	}
}

func (e *Events) query() url.Values {
	q := url.Values{"after": {strconv.FormatUint(e.After, 10)}, "end": {strconv.FormatBool(!e.Follow)}}
	if e.After == 0 && e.FromStart {
		q.Set("from_start", "true")
	}
	if e.After == 0 && e.Since > 0 {
		q.Set("since", e.Since.String())
	}
	if e.Service != "" {
		q.Set("service", e.Service)
	}
	return q
}

// noticesOnce reads one connection to its end and moves e.After along. complete: nobody wants more, or there
// is no more.
func (c *Client) noticesOnce(ctx context.Context, e *Events, yield func(core.Notice) bool) (complete bool, err error) {
	resp, err := c.once(ctx, call{method: http.MethodGet, path: "/v1/events", query: e.query()}, nil)
	if err != nil {
		return false, err
	}
	defer func() { _ = resp.Body.Close() }() // a stream's end is seen by reading it
	scan := bufio.NewScanner(resp.Body)
	scan.Buffer(make([]byte, 64<<10), maxLine)
	var m message
	for scan.Scan() {
		if line := scan.Text(); line != "" {
			m.add(line)
			continue
		}
		if m.event == "notice" {
			var n core.Notice
			if err := json.Unmarshal([]byte(m.data), &n); err != nil {
				return false, core.Errorf(core.CodeInternal, "an event does not decode: %w", err)
			}
			if !yield(n) {
				return true, nil
			}
		}
		e.After = max(e.After, m.id)
		m = message{}
	}
	if err := scan.Err(); err != nil {
		return false, core.Errorf(core.CodeUnavailable, "the events broke off: %w", err)
	}
	return !e.Follow, nil
}

// Metrics reads a node's metrics in Prometheus' text format.
func (c *Client) Metrics(ctx context.Context) ([]byte, error) {
	resp, err := c.send(ctx, call{method: http.MethodGet, path: "/metrics"})
	if err != nil {
		return nil, err
	}
	defer func() { _ = resp.Body.Close() }() // it has been read
	data, err := io.ReadAll(resp.Body)
	if err != nil {
		return nil, core.Errorf(core.CodeUnavailable, "the metrics broke off: %w", err)
	}
	return data, nil
}

// Debug writes a node's diagnostics bundle, a gzipped tar, to w.
func (c *Client) Debug(ctx context.Context, w io.Writer) error {
	resp, err := c.send(ctx, call{method: http.MethodGet, path: "/v1/debug"})
	if err != nil {
		return err
	}
	defer func() { _ = resp.Body.Close() }() // it has been read
	if _, err := io.Copy(w, resp.Body); err != nil {
		return core.Errorf(core.CodeUnavailable, "the bundle broke off: %w", err)
	}
	return nil
}
