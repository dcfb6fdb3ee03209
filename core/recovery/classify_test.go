package recovery_test

import (
	"context"
	"strings"
	"testing"

	"github.com/instarhq/instar/core"
	"github.com/instarhq/instar/core/coretest"
	"github.com/instarhq/instar/core/recovery"
	"github.com/instarhq/instar/core/state"
)

const (
	cluster = "7c0f1e9ab2d4c6e8"
	made    = core.Digest("sha256:1111111111111111")
	older   = core.Digest("sha256:2222222222222222")
	newer   = core.Digest("sha256:3333333333333333")
)

var here = recovery.Target{Node: "n1", Driver: "process", Name: "local"}

// restored is a state with the service web, whose revisions 1 and 3 are the same, and what change adds.
func restored(t *testing.T, change func(*state.Tx)) *state.View {
	t.Helper()
	s := state.New(coretest.NewStore())
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() { defer close(done); _ = s.Run(ctx) }() // ends with ctx
	t.Cleanup(func() { cancel(); <-done })
	if err := s.Ready(t.Context()); err != nil {
		t.Fatal(err)
	}
	_, err := s.Update(t.Context(), core.Meta{Principal: "test", Verb: "test"}, func(tx *state.Tx) error {
		state.Services.Put(tx, "web", core.Service{Format: core.Format, Name: "web"})
		for number, digest := range map[int]core.Digest{1: made, 2: older, 3: made} {
			state.Revisions.Put(tx, core.RevisionID("web", number), core.Revision{Format: core.Format, Service: "web", Number: number, Digest: digest})
		}
		if change != nil {
			change(tx)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return s.View()
}

// instance is one that the state has at the target, running.
func instance(tx *state.Tx, id string, change func(*core.Instance, *core.InstanceStatus)) {
	i := core.Instance{
		Format: core.Format, ID: id, Service: "web", Revision: 1, Node: here.Node, Driver: here.Driver, Target: here.Name, Desired: core.DesiredRun,
	}
	s := core.InstanceStatus{Format: core.Format, ID: id, Phase: core.InstanceRunning, Fingerprint: "as made"}
	if change != nil {
		change(&i, &s)
	}
	state.Instances.Put(tx, id, i)
	state.InstanceStatuses.Put(tx, id, s)
}

// seen is how the backend has an instance that is as it should be.
func seen(change func(*recovery.Listed)) *recovery.Listed {
	l := &recovery.Listed{
		ID: "web-a", Cluster: cluster, Service: "web", Revision: made, Generation: 1, Running: true, Fingerprint: "as made",
		Addresses: map[string]string{"http": "127.0.0.1:1"},
	}
	if change != nil {
		change(l)
	}
	return l
}

func TestClassify(t *testing.T) {
	type edit = func(*core.Instance, *core.InstanceStatus)
	as := func(*core.Instance, *core.InstanceStatus) {}
	cases := map[string]struct {
		state  edit             // of web-a; nil: the state does not know it
		listed *recovery.Listed // nil: the backend does not have it
		class  core.Class       // empty: there is no finding
		detail string           // a part of it
	}{
		"as it was left":                      {as, seen(nil), core.ClassAdopt, ""},
		"on its way out":                      {func(i *core.Instance, _ *core.InstanceStatus) { i.Desired, i.Reason = core.DesiredDrain, "superseded" }, seen(nil), core.ClassAdopt, "on its way out: superseded"},
		"runs and is not well":                {as, seen(func(l *recovery.Listed) { l.Unhealthy = "503" }), core.ClassAdopt, "503"},
		"placed before the snapshot was made": {func(_ *core.Instance, s *core.InstanceStatus) { s.Phase, s.Fingerprint = core.InstancePlaced, "" }, seen(nil), core.ClassAdopt, ""},

		"made after the snapshot":           {nil, seen(nil), core.ClassExcess, "of revision 3"},
		"made after the snapshot, older":    {nil, seen(func(l *recovery.Listed) { l.Revision = older }), core.ClassExcess, "of revision 2"},
		"made after the snapshot, and over": {nil, seen(func(l *recovery.Listed) { l.Running, l.Ended = false, "exit status 3" }), core.ClassExcess, "exit status 3"},

		"of a newer revision":      {nil, seen(func(l *recovery.Listed) { l.Revision = newer }), core.ClassUnknown, "newer than the snapshot"},
		"of a newer service":       {nil, seen(func(l *recovery.Listed) { l.Service = "shop" }), core.ClassUnknown, `no service "shop"`},
		"known, at another target": {func(i *core.Instance, _ *core.InstanceStatus) { i.Target = "other" }, seen(nil), core.ClassUnknown, "process/other"},
		"known, on another node":   {func(i *core.Instance, _ *core.InstanceStatus) { i.Node = "n2" }, seen(nil), core.ClassUnknown, "on n2"},
		"known, of another driver": {func(i *core.Instance, _ *core.InstanceStatus) { i.Driver = "docker" }, seen(nil), core.ClassUnknown, "docker/local"},

		"gone":                             {as, nil, core.ClassMissing, "the driver does not know it"},
		"there, and ended":                 {as, seen(func(l *recovery.Listed) { l.Running, l.Ended = false, "killed" }), core.ClassMissing, "killed"},
		"gone, and known to have failed":   {func(_ *core.Instance, s *core.InstanceStatus) { s.Phase = core.InstanceFailed }, nil, "", ""},
		"gone, and never made":             {func(_ *core.Instance, s *core.InstanceStatus) { s.Phase = core.InstancePlaced }, nil, "", ""},
		"gone, and wanted out":             {func(i *core.Instance, _ *core.InstanceStatus) { i.Desired = core.DesiredDestroy }, nil, "", ""},
		"not here, and expected elsewhere": {func(i *core.Instance, _ *core.InstanceStatus) { i.Node = "n2" }, nil, "", ""},

		"made from something else":            {as, seen(func(l *recovery.Listed) { l.Revision = older }), core.ClassDrifted, "made from sha256:22222222"},
		"of a revision that the state lacks":  {as, seen(func(l *recovery.Listed) { l.Revision = newer }), core.ClassDrifted, "made from sha256:33333333"},
		"changed since":                       {as, seen(func(l *recovery.Listed) { l.Fingerprint = "changed" }), core.ClassDrifted, "fingerprint"},
		"known, and what it is made of lost":  {as, seen(func(l *recovery.Listed) { l.Hollow = true }), core.ClassDrifted, "lost with the driver's state"},
		"excess, and what it is made of lost": {nil, seen(func(l *recovery.Listed) { l.Hollow = true }), core.ClassDrifted, "lost with the driver's state"},

		"of another cluster":                     {nil, seen(func(l *recovery.Listed) { l.Cluster = "other" }), core.ClassForeign, "of cluster other"},
		"of another cluster, with an id of ours": {as, seen(func(l *recovery.Listed) { l.Cluster = "other" }), core.ClassForeign, "of cluster other"},
		"of no cluster":                          {nil, seen(func(l *recovery.Listed) { l.Cluster = "" }), core.ClassForeign, ""},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			view := restored(t, func(tx *state.Tx) {
				if c.state != nil {
					instance(tx, "web-a", c.state)
				}
			})
			var listed []recovery.Listed
			if c.listed != nil {
				listed = append(listed, *c.listed)
			}
			found := recovery.Classify(view, cluster, here, listed)
			if c.class == "" {
				if len(found) != 0 {
					t.Fatalf("found %+v, want nothing", found)
				}
				return
			}
			if len(found) != 1 {
				t.Fatalf("found %+v, want one", found)
			}
			f := found[0]
			if f.Class != c.class || !strings.Contains(f.Detail, c.detail) {
				t.Errorf("%s (%s), want %s (…%s…)", f.Class, f.Detail, c.class, c.detail)
			}
			if f.Instance != "web-a" || f.Node != here.Node || f.Driver != here.Driver || f.Target != here.Name || f.Format != core.Format || !f.Found.IsZero() {
				t.Errorf("finding %+v", f)
			}
			if c.listed != nil && (f.Revision != c.listed.Revision || f.Addresses["http"] != c.listed.Addresses["http"] || f.Unhealthy != c.listed.Unhealthy) {
				t.Errorf("finding %+v does not say what was seen: %+v", f, c.listed)
			}
		})
	}
}

// There is one finding for each instance that is there or should be, in the order of their names.
func TestClassifyFindsEachOnce(t *testing.T) {
	view := restored(t, func(tx *state.Tx) {
		for _, id := range []string{"web-c", "web-a", "web-e"} {
			instance(tx, id, nil)
		}
	})
	var listed []recovery.Listed
	for _, id := range []string{"web-d", "web-a", "web-b"} {
		listed = append(listed, *seen(func(l *recovery.Listed) { l.ID = id }))
	}
	var got []string
	for _, f := range recovery.Classify(view, cluster, here, listed) {
		got = append(got, f.Instance+" "+string(f.Class))
	}
	if want := "web-a adopt, web-b excess, web-c missing, web-d excess, web-e missing"; strings.Join(got, ", ") != want {
		t.Errorf("%s, want %s", strings.Join(got, ", "), want)
	}
}
