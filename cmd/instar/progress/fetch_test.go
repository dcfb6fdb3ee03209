package progress

import (
	"bytes"
	"strings"
	"testing"

	"github.com/instarhq/instar/cmd/instar/table"
	"github.com/instarhq/instar/core"
)

func fetch(node string, done, total int64) core.NodeFetch {
	return core.NodeFetch{Node: node, Target: "local", Fetch: core.Fetch{Done: done, Total: total}}
}

func TestFetchesAreShown(t *testing.T) {
	view := rollout(core.RolloutProvisioning)
	view.Progress.Fetches = []core.NodeFetch{fetch("n1", 54<<20, 120<<20), fetch("n2", 512, 0)}
	lines := Lines(&view, start, table.Style{})
	want := `   n1/local        has  45 % of the artifact   54.0 MiB of 120.0 MiB
   n2/local        has 512 B of the artifact`
	if got := strings.Join(lines[len(lines)-2:], "\n"); got != want {
		t.Errorf("\n%s\nwant\n%s", got, want)
	}
	for range 5 {
		view.Progress.Fetches = append(view.Progress.Fetches, fetch("n9", 1, 2))
	}
	lines = Lines(&view, start, table.Style{})
	if got := lines[len(lines)-1]; got != "   and 2 more" {
		t.Errorf("seven nodes end with %q", got)
	}
	view.Rollout.Phase = core.RolloutFailed
	for _, line := range Lines(&view, start, table.Style{}) {
		if strings.Contains(line, "artifact") {
			t.Errorf("a rollout that is over still shows %q", line)
		}
	}
}

// A log has a line for each tenth of all that is to be fetched, and not for each report.
func TestLogOfFetches(t *testing.T) {
	var out bytes.Buffer
	s := NewScreen(&out, false, nil, table.Style{})
	for done := range int64(101) {
		view := rollout(core.RolloutProvisioning)
		view.Progress.Created = 0
		view.Progress.Fetches = []core.NodeFetch{fetch("n1", done, 100), fetch("n2", 0, 100)}
		if err := s.Show([]core.RolloutView{view}, start); err != nil {
			t.Fatal(err)
		}
	}
	want := ""
	for _, tenth := range []string{"0", "10", "20", "30", "40", "50"} {
		want += "shop/2: provisioning 0/3 created, " + tenth + " % of the artifact\n"
	}
	if out.String() != want {
		t.Errorf("%s\nwant\n%s", out.String(), want)
	}
	if got := fetched([]core.NodeFetch{fetch("n1", 5, 0)}); got != ", getting the artifact" {
		t.Errorf("an unknown total gives %q", got)
	}
}
