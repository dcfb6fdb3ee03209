package client

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"iter"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/instarhq/instar/core"
)

// maxLine bounds one line of a stream: an object of a mebibyte with its escapes, in bytes.
const maxLine = 8 << 20

// Logs yields an instance's output, oldest first; with follow it goes on until ctx ends or the
// instance is gone. tail bounds how many of the existing lines are given; 0: all.
func (c *Client) Logs(ctx context.Context, instance string, follow bool, tail int) iter.Seq2[core.LogLine, error] {
	return func(yield func(core.LogLine, error) bool) {
		q := url.Values{"follow": {strconv.FormatBool(follow)}, "tail": {strconv.Itoa(tail)}}
		resp, err := c.send(ctx, call{method: http.MethodGet, path: "/v1/instances/" + url.PathEscape(instance) + "/logs", query: q})
		if err != nil {
			yield(core.LogLine{}, err)
			return
		}
		defer func() { _ = resp.Body.Close() }() // a stream's end is seen by reading it
		dec := json.NewDecoder(resp.Body)
		for {
			var line core.LogLine
			err := dec.Decode(&line)
			if errors.Is(err, io.EOF) {
				return
			}
			if err != nil {
				yield(line, fmt.Errorf("logs of %s: %w", instance, err))
				return
			}
			if !yield(line, nil) {
				return
			}
		}
	}
}

// Watch selects what a watch sends.
type Watch struct {
	After     uint64 // begin after this sequence number; 0 with FromStart unset: now
	FromStart bool
	Kinds     []core.Kind
	Service   string
}

// Watch yields changes as they happen and reconnects by itself, where it was, until ctx ends. An event
// with an empty Kind only tells how far the stream has come. The sequence ends with ctx's error, or with
// the daemon's refusal.
func (c *Client) Watch(ctx context.Context, w Watch) iter.Seq2[core.Event, error] {
	return func(yield func(core.Event, error) bool) {
		delay := 100 * time.Millisecond
		for {
			more, err := c.watchOnce(ctx, &w, func(e core.Event) bool { delay = 100 * time.Millisecond; return yield(e, nil) })
			if !more {
				return
			}
			if ctx.Err() != nil {
				yield(core.Event{}, ctx.Err())
				return
			}
			if err != nil && !core.Retryable(err) {
				yield(core.Event{}, err)
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

// watchOnce reads one connection to its end and moves w.After along. It returns false when the
// consumer wants no more.
func (c *Client) watchOnce(ctx context.Context, w *Watch, yield func(core.Event) bool) (bool, error) {
	q := url.Values{"after": {strconv.FormatUint(w.After, 10)}, "from_start": {strconv.FormatBool(w.FromStart && w.After == 0)}}
	for _, k := range w.Kinds {
		q.Add("kind", string(k))
	}
	if w.Service != "" {
		q.Set("service", w.Service)
	}
	resp, err := c.once(ctx, call{method: http.MethodGet, path: "/v1/watch", query: q}, nil)
	if err != nil {
		return true, err
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
		event, id, err := m.take()
		if err != nil {
			return true, err
		}
		if !yield(event) {
			return false, nil
		}
		w.After = max(w.After, id)
	}
	if err := scan.Err(); err != nil {
		return true, core.Errorf(core.CodeUnavailable, "the watch broke off: %w", err)
	}
	return true, nil
}

// message collects the fields of one server-sent event.
type message struct {
	event, data string
	id          uint64
}

func (m *message) add(line string) {
	field, value, _ := strings.Cut(line, ":")
	value = strings.TrimPrefix(value, " ")
	switch field {
	case "event":
		m.event = value
	case "data":
		m.data += value
	case "id":
		if id, err := strconv.ParseUint(value, 10, 64); err == nil {
			m.id = id
		}
	}
}

func (m *message) take() (core.Event, uint64, error) {
	defer func() { *m = message{} }()
	var e core.Event
	if m.data == "" {
		return e, m.id, nil
	}
	if err := json.Unmarshal([]byte(m.data), &e); err != nil {
		return e, 0, core.Errorf(core.CodeInternal, "an event of the watch does not decode: %w", err)
	}
	return e, m.id, nil
}
