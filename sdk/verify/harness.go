package verify

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"time"

	"github.com/instarhq/instar/sdk/sdktest"
)

// harness is what can be done with any process, and with the backend as far as that is given.
func (p *processes) harness() sdktest.Harness {
	o := p.v.options
	h := sdktest.Harness{Rounds: o.Rounds, Patience: o.Patience, Soon: o.Soon, Log: p.log}
	if runtime.GOOS == "linux" {
		h.Footprint = func(t sdktest.T) int {
			n, err := sdktest.FootprintOf(p.last.State().PID)
			if err != nil {
				t.Fatalf("%v", err)
			}
			return n
		}
	}
	if o.Backend.Stop != nil {
		h.Stop = func(t sdktest.T) { must(t, p.v.outside.stop(t.Context(), p.target.request)) }
		h.Start = func(t sdktest.T) { must(t, p.v.outside.start(t.Context(), p.target.request)) }
	}
	if o.Backend.Slow != nil {
		h.Slow = func(t sdktest.T, by time.Duration) { must(t, p.v.outside.delay(t.Context(), p.target.request, by)) }
	}
	return h
}

// log is what the processes of the target have logged.
func (p *processes) log(t sdktest.T) string {
	data, err := os.ReadFile(filepath.Join(p.target.dir, "log"))
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		t.Fatalf("the driver's log: %v", err)
	}
	return string(data)
}

// holds gives what the backend has, nil if nobody can tell.
func (p *processes) holds() func(sdktest.T) []string {
	if p.v.options.Backend.Holds == nil {
		return nil
	}
	return func(t sdktest.T) []string {
		list, err := p.v.outside.holds(t.Context(), p.target.request)
		must(t, err)
		return list
	}
}

// change changes an instance by hand, nil if there is no hand.
func (p *processes) change() func(sdktest.T, string) {
	if p.v.options.Backend.Change == nil {
		return nil
	}
	return func(t sdktest.T, id string) { must(t, p.v.outside.change(t.Context(), p.target.request, id)) }
}

// must ends a check whose backend could not be acted on: that is no fault of the driver's, and the error says so.
func must(t sdktest.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatalf("%v", err)
	}
}
