package driverhost

import (
	"cmp"
	"slices"
	"strings"
	"time"

	"github.com/instarhq/instar/core"
)

// Drivers describes the drivers of the node, sorted by kind and name: those of targets as their last process
// described itself, the others as the last Discover found them. So after an upgrade the schemas are those
// of what answers, and a binary on disk that may not run changes nothing.
func (h *Host) Drivers() []core.Driver {
	type key struct {
		kind core.DriverKind
		name string
	}
	h.mu.Lock()
	found, targets := slices.Clone(h.drivers), h.sorted()
	h.mu.Unlock()
	drivers, newest := map[key]core.Driver{}, map[key]time.Time{}
	for _, d := range found {
		drivers[key{d.Kind, d.Name}] = d
	}
	for _, t := range targets {
		k := key{t.key.kind, t.key.driver}
		// Targets of one driver are upgraded one after the other: the newest process counts.
		if d, up := t.described(); up.After(newest[k]) {
			drivers[k], newest[k] = d, up
		}
	}
	all := make([]core.Driver, 0, len(drivers))
	for _, d := range drivers {
		all = append(all, d)
	}
	slices.SortFunc(all, func(a, b core.Driver) int {
		return cmp.Or(strings.Compare(string(a.Kind), string(b.Kind)), strings.Compare(a.Name, b.Name))
	})
	return all
}

// described is what the last process that callers got said of itself, and since when they got it; never if
// there was none.
func (t *target) described() (d core.Driver, up time.Time) {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.driver, t.driverUp
}

// identified completes a description with where it comes from.
func (h *Host) identified(d core.Driver, path string, digest core.Digest) core.Driver {
	d.Node, d.Path, d.SHA256 = h.cfg.Node, path, strings.TrimPrefix(string(digest), "sha256:")
	return d
}

// sentence is an error with what to do about it, for those who read the log or a target's health.
func sentence(err error) string {
	if e, ok := core.AsError(err); ok && e.Hint != "" {
		return err.Error() + " (" + e.Hint + ")"
	}
	return err.Error()
}
