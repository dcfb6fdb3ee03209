package telemetry_test

import (
	"encoding/json"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	dto "github.com/prometheus/client_model/go"

	"github.com/instarhq/instar/core"
	"github.com/instarhq/instar/core/state"
)

var update = flag.Bool("update", false, "write the table of docs/observability.md")

const docs = "../../docs/observability"

// families are all metrics that a node can export, with an example of each.
func families(t *testing.T) map[string]*dto.MetricFamily {
	t.Helper()
	c := newCluster(t, true)
	c.fill(3, 2, 12)
	use(c.telemetry)
	go func() { _ = c.telemetry.Follow(t.Context(), c.State, func() bool { return true }) }()
	deadline := time.Now().Add(30 * time.Second)
	for n := 2; !strings.Contains(c.scrape(), "instar_rollout_duration_seconds_count"); n++ {
		if time.Now().After(deadline) {
			t.Fatal("no rollout is counted")
		}
		c.put(func(tx *state.Tx) {
			id := fmt.Sprintf("s1/%d", n)
			state.Rollouts.Put(tx, id, core.Rollout{Format: 1, Service: "s1", Number: n, Phase: core.RolloutFailed})
		})
	}
	all, err := c.telemetry.Gatherer().Gather()
	if err != nil {
		t.Fatal(err)
	}
	out := map[string]*dto.MetricFamily{}
	for _, family := range all {
		out[family.GetName()] = family
	}
	return out
}

var metricName = regexp.MustCompile(`\b(?:instar|go|process)_[a-z_]+\b`)

// known fails for names in an expression that no node exports.
func known(t *testing.T, all map[string]*dto.MetricFamily, where, expr string) {
	t.Helper()
	for _, name := range metricName.FindAllString(expr, -1) {
		family := all[name]
		for _, suffix := range []string{"_bucket", "_sum", "_count"} {
			if base, cut := strings.CutSuffix(name, suffix); cut && family == nil && all[base].GetType() == dto.MetricType_HISTOGRAM {
				family = all[base]
			}
		}
		if family == nil {
			t.Errorf("%s uses %s, which nobody exports: %s", where, name, expr)
		}
	}
}

// Every metric of dashboard and rules exists.
func TestDocsNameRealMetrics(t *testing.T) {
	all := families(t)
	data, err := os.ReadFile(docs + "/grafana-instar.json")
	if err != nil {
		t.Fatal(err)
	}
	var dashboard struct {
		Panels []struct {
			ID      int
			Title   string
			Type    string
			Targets []struct{ Expr string }
		}
		Templating struct {
			List []struct{ Name, Query string }
		}
	}
	if err := json.Unmarshal(data, &dashboard); err != nil {
		t.Fatal(err)
	}
	ids := map[int]bool{}
	for _, panel := range dashboard.Panels {
		if ids[panel.ID] || panel.Type != "row" && len(panel.Targets) == 0 {
			t.Errorf("panel %q: number %d is taken, or it shows nothing", panel.Title, panel.ID)
		}
		ids[panel.ID] = true
		for _, target := range panel.Targets {
			if !metricName.MatchString(target.Expr) {
				t.Errorf("panel %q names no metric: %s", panel.Title, target.Expr)
			}
			known(t, all, "panel "+panel.Title, target.Expr)
		}
	}
	for _, variable := range dashboard.Templating.List {
		known(t, all, "variable "+variable.Name, variable.Query)
	}
	rules, err := os.ReadFile(docs + "/alerts.yaml")
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(rules)) {
		known(t, all, "alerts.yaml", line)
	}
	if len(ids) < 20 {
		t.Errorf("%d panels only", len(ids))
	}
}

// promtool, of the Debian package prometheus, reads the rules and tries them.
func TestAlertRules(t *testing.T) {
	promtool, err := exec.LookPath("promtool")
	if err != nil {
		t.Fatal("install the package prometheus (.ci/setup does): ", err)
	}
	for _, args := range [][]string{{"check", "rules", "alerts.yaml"}, {"test", "rules", "alerts_test.yaml"}} {
		cmd := exec.CommandContext(t.Context(), promtool, args...)
		cmd.Dir = docs
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Errorf("promtool %s: %v\n%s", strings.Join(args, " "), err, out)
		}
	}
}

// promtool understands what is exported, and finds nothing to complain about.
func TestPromtoolReadsMetrics(t *testing.T) {
	c := newCluster(t, true)
	c.fill(3, 2, 12)
	use(c.telemetry)
	cmd := exec.CommandContext(t.Context(), "promtool", "check", "metrics")
	cmd.Stdin = strings.NewReader(c.scrape())
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Errorf("%v\n%s", err, out)
	}
}

const (
	tableBegin = "<!-- metrics: written by go test ./core/telemetry -run TestMetricsAreDocumented -update -->\n"
	tableEnd   = "<!-- end of metrics -->\n"
)

// The table in docs/observability.md is what there is.
func TestMetricsAreDocumented(t *testing.T) {
	var table strings.Builder
	table.WriteString("| metric | type | labels | what |\n|---|---|---|---|\n")
	all := families(t)
	names := make([]string, 0, len(all))
	for name := range all {
		if strings.HasPrefix(name, "instar_") {
			names = append(names, name)
		}
	}
	slices.Sort(names)
	for _, name := range names {
		family := all[name]
		var labels []string
		for _, label := range family.GetMetric()[0].GetLabel() {
			labels = append(labels, label.GetName())
		}
		fmt.Fprintf(&table, "| `%s` | %s | %s | %s |\n", name, strings.ToLower(family.GetType().String()), strings.Join(labels, ", "), family.GetHelp())
	}
	const path = docs + ".md"
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	before, rest, begun := strings.Cut(string(data), tableBegin)
	old, after, ended := strings.Cut(rest, tableEnd)
	if !begun || !ended {
		t.Fatalf("%s has no place for the table", path)
	}
	if old == table.String() {
		return
	}
	if !*update {
		t.Fatalf("the table in %s is not what is exported: go test ./core/telemetry -run TestMetricsAreDocumented -update", path)
	}
	if err := os.WriteFile(path, []byte(before+tableBegin+table.String()+tableEnd+after), 0o600); err != nil {
		t.Fatal(err)
	}
}
