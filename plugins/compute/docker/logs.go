package docker

import (
	"context"
	"errors"
	"io"
	"strconv"
	"strings"
	"time"

	"github.com/moby/moby/client"

	"github.com/instarhq/instar/sdk"
)

// resumeAfter is how long to wait before a stream that was cut off is opened again.
const resumeAfter = 500 * time.Millisecond

// Logs implements sdk.Compute. Following goes on through an outage of the engine.
func (d *Driver) Logs(ctx context.Context, id string, opts sdk.LogOptions, line func(sdk.LogLine) error) error {
	t, ctx, done, err := d.begin(ctx)
	if err != nil {
		return err
	}
	defer done()
	c, err := t.find(ctx, id)
	if err != nil {
		return err
	}
	r := &logReader{t: t, container: c.ID, opts: opts, line: line}
	for {
		err := r.read(ctx)
		switch {
		case r.refused != nil:
			return r.refused
		case ctx.Err() != nil:
			return context.Cause(ctx)
		case sdk.CodeOf(err) == sdk.CodeNotFound, sdk.CodeOf(err) == sdk.CodeConflict:
			return nil // destroyed meanwhile, or just being
		case err != nil && (!opts.Follow || sdk.CodeOf(err) != sdk.CodeUnavailable):
			return err
		case err == nil && !opts.Follow:
			return nil
		}
		over, err := r.over(ctx)
		if over || err != nil && sdk.CodeOf(err) != sdk.CodeUnavailable {
			return err
		}
		if r.ending {
			continue // the engine is there, and nothing more will be written
		}
		if err := pause(ctx, resumeAfter); err != nil {
			return err
		}
	}
}

// logReader reads the output of one container, and goes on where it was cut off.
type logReader struct {
	t         *target
	container string
	opts      sdk.LogOptions
	line      func(sdk.LogLine) error

	last    time.Time // of the last line
	lines   int       // with that time
	ending  bool      // it has ended, and the rest is read
	refused error     // what line returned
}

// over reports whether there is nothing more to come. A stream ends with the container, and with the engine.
func (r *logReader) over(ctx context.Context) (bool, error) {
	if r.ending {
		return true, nil
	}
	c, err := r.t.inspect(ctx, r.container)
	switch {
	case sdk.CodeOf(err) == sdk.CodeNotFound:
		return true, nil
	case err != nil:
		return false, err
	}
	// Once more, for what came between the end of the stream and that of the container.
	r.ending = !c.State.Running
	return false, nil
}

// read reads until the stream ends.
func (r *logReader) read(ctx context.Context) error {
	api, err := r.t.engine.client()
	if err != nil {
		return err
	}
	options := client.ContainerLogsOptions{
		ShowStdout: true, ShowStderr: true, Timestamps: true, Follow: r.opts.Follow && !r.ending,
	}
	if r.opts.Tail > 0 && r.last.IsZero() {
		options.Tail = strconv.Itoa(r.opts.Tail)
	}
	if !r.last.IsZero() {
		options.Since = r.last.Format(time.RFC3339Nano)
	}
	// The answer to a request for logs comes at once; what is in it may take for ever.
	opening, cancel := context.WithCancel(ctx)
	defer cancel()
	slow := time.AfterFunc(askFor, cancel)
	stream, err := api.ContainerLogs(opening, r.container, options)
	if !slow.Stop() && ctx.Err() == nil {
		err = context.DeadlineExceeded
	}
	if err != nil {
		return r.explain(ctx, err)
	}
	defer func() { _ = stream.Close() }() // read to its end, or given up
	skip := r.lines
	since := r.last
	err = readFrames(stream, func(l sdk.LogLine) error {
		if !since.IsZero() && !l.Time.After(since) {
			if l.Time.Equal(since) && skip == 0 {
				return r.pass(l)
			}
			if l.Time.Equal(since) {
				skip--
			}
			return nil // it was passed on before the stream was cut off
		}
		return r.pass(l)
	})
	if err == nil || errors.Is(err, io.EOF) {
		return nil
	}
	return r.explain(ctx, err)
}

func (r *logReader) pass(l sdk.LogLine) error {
	if l.Time.Equal(r.last) {
		r.lines++
	} else {
		r.last, r.lines = l.Time, 1
	}
	r.refused = r.line(l)
	return r.refused
}

func (r *logReader) explain(ctx context.Context, err error) error {
	err = r.t.engine.explain(ctx, "logs of container "+r.container, err)
	if text := strings.ToLower(err.Error()); strings.Contains(text, "does not support reading") || strings.Contains(text, "logging driver") {
		return sdk.Unsupported("the instance's logging driver keeps nothing that could be read back: %w", err)
	}
	return err
}
