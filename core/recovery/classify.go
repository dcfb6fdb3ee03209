package recovery

import (
	"fmt"
	"slices"
	"strings"

	"github.com/instarhq/instar/core"
	"github.com/instarhq/instar/core/state"
)

// Listed is an instance as a driver's backend has it.
type Listed struct {
	ID, Cluster, Service string
	Revision             core.Digest
	Generation           uint64
	Running              bool
	Ended                string // how it ended, if it is not running
	Fingerprint          string
	Addresses            map[string]string
	Unhealthy            string // the health check that fails, in words; empty: none does
	Hollow               bool   // what it was made from is lost; only that it runs is known
}

// Target names the compute target that was asked.
type Target struct{ Node, Driver, Name string }

// Classify compares what a target has with the state. It gives one finding for each instance that is
// there or should be, sorted by instance; Found is left for the caller.
func Classify(r state.Reader, cluster string, at Target, listed []Listed) []core.Finding {
	c := classifier{state: r, cluster: cluster, at: at}
	var out []core.Finding
	there := map[string]bool{}
	for i := range listed {
		l := &listed[i]
		there[l.ID] = true
		class, detail := c.classOf(l)
		f := c.finding(l.ID, class, detail)
		f.Service, f.Revision, f.Generation, f.Addresses = l.Service, l.Revision, l.Generation, l.Addresses
		f.Fingerprint, f.Unhealthy = l.Fingerprint, l.Unhealthy
		out = append(out, f)
	}
	for id, inst := range state.Instances.By(r, state.ByNode, at.Node) {
		if !there[id] && c.here(&inst) && c.expected(&inst) {
			f := c.finding(id, core.ClassMissing, "the driver does not know it")
			f.Service = inst.Service
			out = append(out, f)
		}
	}
	slices.SortFunc(out, func(a, b core.Finding) int { return strings.Compare(a.Instance, b.Instance) })
	return out
}

// hollow is why an instance that runs cannot be taken over.
const hollow = "it runs, but what it was made from is lost with the driver's state"

type classifier struct {
	state   state.Reader
	cluster string
	at      Target
}

func (c *classifier) finding(id string, class core.Class, detail string) core.Finding {
	return core.Finding{
		Format: core.Format, Node: c.at.Node, Driver: c.at.Driver, Target: c.at.Name,
		Instance: id, Class: class, Detail: detail,
	}
}

func (c *classifier) here(inst *core.Instance) bool {
	return inst.Node == c.at.Node && inst.Driver == c.at.Driver && inst.Target == c.at.Name
}

// expected reports whether the driver must have an instance: it was made, and nothing has ended it.
func (c *classifier) expected(inst *core.Instance) bool {
	status, _ := state.InstanceStatuses.Get(c.state, inst.ID)
	return inst.Desired == core.DesiredRun && status.Phase >= core.InstanceRunning && !status.Phase.Over()
}

func (c *classifier) classOf(l *Listed) (core.Class, string) {
	if l.Cluster != c.cluster {
		return core.ClassForeign, "of cluster " + l.Cluster
	}
	inst, known := state.Instances.Get(c.state, l.ID)
	switch {
	case known && c.here(&inst):
		return c.known(&inst, l)
	case known:
		return core.ClassUnknown, fmt.Sprintf("the state has it on %s, %s/%s", inst.Node, inst.Driver, inst.Target)
	}
	if _, ok := state.Services.Get(c.state, l.Service); !ok {
		return core.ClassUnknown, fmt.Sprintf("the state has no service %q", l.Service)
	}
	number, ok := revisionOf(c.state, l.Service, l.Revision)
	if !ok {
		return core.ClassUnknown, fmt.Sprintf("the state has no such revision of %q: it is newer than the snapshot", l.Service)
	}
	if l.Hollow {
		return core.ClassDrifted, hollow
	}
	detail := fmt.Sprintf("of revision %d, made after the snapshot or already forgotten by it", number)
	if !l.Running {
		detail += "; " + l.Ended
	}
	return core.ClassExcess, detail
}

// known judges an instance that the state has at this target.
func (c *classifier) known(inst *core.Instance, l *Listed) (core.Class, string) {
	revision, ok := state.Revisions.Get(c.state, core.RevisionID(inst.Service, inst.Revision))
	status, _ := state.InstanceStatuses.Get(c.state, inst.ID)
	switch {
	case ok && revision.Digest != l.Revision:
		return core.ClassDrifted, fmt.Sprintf("made from %s, the state says %s", short(l.Revision), short(revision.Digest))
	case !l.Running:
		return core.ClassMissing, l.Ended
	case l.Hollow:
		return core.ClassDrifted, hollow
	case status.Fingerprint != "" && status.Fingerprint != l.Fingerprint:
		return core.ClassDrifted, "it is not as it was made: its fingerprint has changed"
	case inst.Desired != core.DesiredRun:
		return core.ClassAdopt, "on its way out: " + inst.Reason
	case l.Unhealthy != "":
		return core.ClassAdopt, "runs, but its health check fails: " + l.Unhealthy
	}
	return core.ClassAdopt, ""
}

// revisionOf finds the number of a service's revision by its digest; the newest if several have it.
func revisionOf(r state.Reader, service string, digest core.Digest) (number int, ok bool) {
	for _, rev := range state.Revisions.By(r, state.ByService, service) {
		if rev.Digest == digest && rev.Number > number {
			number, ok = rev.Number, true
		}
	}
	return number, ok
}

func short(d core.Digest) string { return string(d[:min(len(d), len("sha256:")+8)]) }
