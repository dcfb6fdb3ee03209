package sdktest_test

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/instarhq/instar/sdk"
)

// world is a backend that instances run at. Drivers come and go, it stays; it can be slow, and away.
type world struct {
	mu        sync.Mutex
	things    map[string]*thing // by name; a backend of this kind allows a name once
	artifacts map[string]string // what was fetched, by digest
	ports     int
	down      bool
	delay     time.Duration
	changed   chan struct{} // closed and replaced at every change
}

// thing is one instance as the world has it.
type thing struct {
	name    string
	labels  sdk.Instance // what the driver wrote on it
	spec    sdk.InstanceSpec
	env     map[string]string
	started bool
	exit    *sdk.Exit
	out     []sdk.LogLine
	hand    int // how often it was changed by hand
}

func newWorld() *world {
	return &world{things: map[string]*thing{}, artifacts: map[string]string{}, changed: make(chan struct{}), ports: 20000}
}

// call is the way to the world, which takes a moment, and may lead nowhere.
func (w *world) call(ctx context.Context) error {
	w.mu.Lock()
	delay := max(w.delay, time.Millisecond)
	w.mu.Unlock()
	if err := pause(ctx, delay); err != nil {
		return err
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.down {
		return sdk.Unavailable(time.Second, "the backend does not answer")
	}
	return nil
}

// tell wakes those who watch. w.mu must be held.
func (w *world) tell() {
	close(w.changed)
	w.changed = make(chan struct{})
}

// next is closed at the next change.
func (w *world) next() <-chan struct{} {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.changed
}

// find copies a thing.
func (w *world) find(name string) (thing, bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	t, ok := w.things[name]
	if !ok {
		return thing{}, false
	}
	return *t, true
}

// put makes a thing, which does not run yet.
func (w *world) put(t thing) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	if _, there := w.things[t.name]; there {
		return sdk.Conflict("the name %s is taken", t.name)
	}
	t.labels.Addresses = map[string]string{}
	for _, p := range t.spec.Ports {
		w.ports++
		t.labels.Addresses[p.Name] = fmt.Sprintf("127.0.0.1:%d", w.ports)
	}
	t.labels.Created = time.Now().UTC()
	w.things[t.name] = &t
	w.tell()
	return nil
}

// start lets a thing run; one that cannot says so.
func (w *world) start(name, behaviour string) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	t, ok := w.things[name]
	if !ok || t.started {
		return nil
	}
	now := time.Now().UTC()
	line := func(stream, text string) {
		t.out = append(t.out, sdk.LogLine{Time: now, Stream: stream, Text: text})
	}
	switch behaviour {
	case "fails":
		return sdk.InvalidConfig("behaviour", "there is no such program")
	case "exits":
		t.exit = &sdk.Exit{Code: 3, Message: "exited with status 3", At: now}
	case "talks":
		for n := range 5 {
			line("stdout", fmt.Sprintf("out %d", n+1))
		}
		line("stderr", "err 1")
	case "stubborn":
		line("stdout", "stubborn")
	case "shows":
		shown := t.env["CONFORMANCE"]
		for _, m := range t.spec.Mounts {
			shown += "\n" + strings.TrimSuffix(string(m.Data), "\n")
		}
		for _, l := range strings.Split(shown, "\n") {
			line("stdout", l)
		}
	}
	t.started = true
	w.tell()
	return nil
}

// stop ends a thing: at once, or after the grace if it does not listen.
func (w *world) stop(ctx context.Context, behaviour string, grace time.Duration) error {
	if behaviour == "stubborn" {
		return pause(ctx, grace)
	}
	return pause(ctx, time.Millisecond)
}

func (w *world) remove(name string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	delete(w.things, name)
	w.tell()
}

// of lists what the world has of a cluster.
func (w *world) of(cluster string) []thing {
	w.mu.Lock()
	defer w.mu.Unlock()
	var list []thing
	for _, t := range w.things {
		if t.spec.Cluster == cluster || cluster == "*" {
			list = append(list, *t)
		}
	}
	slices.SortFunc(list, func(a, b thing) int { return strings.Compare(a.name, b.name) })
	return list
}

func (w *world) away(down bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.down = down
	w.tell()
}

// change does what a hand at the backend would.
func (w *world) change(id string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, t := range w.things {
		if t.spec.ID == id {
			t.hand++
		}
	}
}
