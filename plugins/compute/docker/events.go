package docker

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/moby/moby/api/types/events"
	"github.com/moby/moby/client"

	"github.com/instarhq/instar/sdk"
)

const (
	// Attempts to follow an engine that is away, from the first to those after a while.
	firstAttempt = 100 * time.Millisecond
	lastAttempt  = 2 * time.Second
	// again is how soon an instance that could not be read is looked at again.
	again = time.Second
	// noteEvery is how often it is noted that events are being followed.
	noteEvery = 10 * time.Second
	// lateExec is how long after its beginning an exec may be told of by Podman, which does so when the process runs: the
	// process may even have ended. dockerd tells before.
	lateExec = 5 * time.Second
	// overlap is how much is heard twice rather than never: the engine's clock may be another one.
	overlap = 5 * time.Second
)

// follow follows the engine's events for as long as the target is held, through every outage.
func (t *target) follow() {
	wait := firstAttempt
	since := t.followedUntil()
	for t.life.Err() == nil {
		began := time.Now()
		last, err := t.followOnce(since)
		if t.link.state().up {
			t.noteFollowed(last)
		}
		if t.life.Err() != nil {
			return
		}
		t.link.set(err)
		t.logger.Info("the engine's events cannot be followed, trying again", "error", err)
		// After an outage it may be another engine. It repeats what happened since, if it still knows.
		t.engine.renew()
		since = last
		if time.Since(began) > lastAttempt {
			wait = firstAttempt
		}
		timer := time.NewTimer(wait)
		select {
		case <-timer.C:
		case <-t.link.again:
		case <-t.life.Done():
		}
		timer.Stop()
		wait = min(2*wait, lastAttempt)
	}
}

// followOnce follows the events until the connection breaks; it returns when the last one was.
func (t *target) followOnce(since time.Time) (last time.Time, err error) {
	last = since
	ctx, cancel := context.WithCancelCause(t.life)
	defer cancel(nil)
	api, err := t.engine.client()
	if err != nil {
		return last, err
	}
	// Without this the wait for an engine that hangs would have no limit.
	if err := t.ping(ctx, askFor); err != nil {
		return last, err
	}
	t.reached()
	from := since.Add(-overlap).Format(time.RFC3339Nano)
	filters := client.Filters{}.Add("type", string(events.ContainerEventType), string(events.NetworkEventType))
	stream := api.Events(ctx, client.EventsListOptions{Since: from, Filters: filters})
	r := newRefresher(t)
	t.loops.Go(func() { cancel(r.run(ctx)) })
	r.all()
	ticker := time.NewTicker(noteEvery)
	defer ticker.Stop()
	for {
		select {
		case now := <-ticker.C:
			t.noteFollowed(now)
		case m := <-stream.Messages:
			last = time.Unix(0, m.TimeNano)
			r.hear(m)
		case err := <-stream.Err:
			if cause := context.Cause(ctx); cause != nil && !errors.Is(cause, context.Canceled) {
				err = cause
			}
			if err == nil {
				err = errors.New("the engine has ended the stream")
			}
			return last, t.engine.explain(t.life, "follow the events", err)
		}
	}
}

// containerOf returns the id of the container that an event is about, and empty for what is none of ours.
func containerOf(m events.Message, clusters []string) string {
	switch m.Type {
	case events.ContainerEventType:
		for _, cluster := range clusters {
			if m.Actor.Attributes[labelCluster] == cluster {
				return m.Actor.ID
			}
		}
	case events.NetworkEventType:
		if m.Action == events.ActionConnect || m.Action == events.ActionDisconnect {
			return m.Actor.Attributes["container"]
		}
	}
	return ""
}

// entry says what an event tells of somebody who is in a container, and since when, or has put something there.
func entry(m events.Message) (entered time.Time, copied bool) {
	action, _, _ := strings.Cut(string(m.Action), ":")
	at := time.Unix(0, m.TimeNano).UTC()
	switch action {
	case "exec_create", "exec_start", "exec_die":
		return at, false
	case "exec": // Podman's
		return at.Add(-lateExec), false
	case string(events.ActionExtractToDir), "copy":
		return time.Time{}, true
	}
	return time.Time{}, false
}

// trace keeps what the engine does not: that somebody was in an instance.
func (t *target) trace(m events.Message) {
	entered, copied := entry(m)
	if entered.IsZero() && !copied {
		return
	}
	at := time.Unix(0, m.TimeNano).UTC()
	err := t.changeRecord(m.Actor.Attributes[labelInstance], func(r *record) {
		if r.Container != m.Actor.ID || !at.After(r.Heard) {
			return
		}
		r.Heard = at
		if copied {
			r.Copied++
		}
		if r.Entered.IsZero() {
			r.Entered = entered
		}
	})
	if err != nil {
		t.logger.Warn("cannot note that somebody was in an instance", "instance", m.Actor.Attributes[labelInstance], "error", err)
	}
}

// gone is an instance of which nothing is left.
func gone(last sdk.Instance) sdk.Instance {
	last.State, last.Exit = sdk.StateDestroyed, nil
	return last
}

// followedFile tells by its time until when events were followed: the next process asks for those since.
const followedFile = "followed"

// followedUntil is the time at which to begin. The first process begins now, and notes that at once: it may not live
// until the first regular note.
func (t *target) followedUntil() time.Time {
	info, err := os.Stat(filepath.Join(t.dir, followedFile))
	if err != nil {
		now := time.Now()
		if errors.Is(err, fs.ErrNotExist) {
			t.noteFollowed(now)
		}
		return now
	}
	return info.ModTime()
}

func (t *target) noteFollowed(until time.Time) {
	path := filepath.Join(t.dir, followedFile)
	err := os.Chtimes(path, until, until)
	if errors.Is(err, fs.ErrNotExist) {
		if err = os.WriteFile(path, nil, 0o600); err == nil {
			err = os.Chtimes(path, until, until)
		}
	}
	if err != nil {
		t.logger.Warn("cannot note until when events were followed", "error", err)
	}
}
