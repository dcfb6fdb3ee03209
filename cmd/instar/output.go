package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"strings"
	"time"

	"github.com/urfave/cli/v2"
	"gopkg.in/yaml.v3"

	"github.com/instarhq/instar/cmd/instar/table"
	"github.com/instarhq/instar/core"
)

// show prints v as the output flag says: JSON exactly as the API has it, the same as YAML, or what
// human prints.
func (u *ui) show(c *cli.Context, v any, human func() error) error {
	format := flag(c, "o")
	switch format {
	case "table":
		return human()
	case "json", "yaml":
	default:
		return usage("there is no output format %q", format).withHint("-o table, -o json or -o yaml")
	}
	data, err := json.MarshalIndent(v, "", "  ")
	if err != nil {
		return fmt.Errorf("encode the answer: %w", err)
	}
	if format == "yaml" {
		if data, err = toYAML(data); err != nil {
			return err
		}
	}
	_, err = u.out.Write(append(bytes.TrimRight(data, "\n"), '\n'))
	return err
}

// machine reports whether programs read the output.
func machine(c *cli.Context) bool { return flag(c, "o") != "table" }

// toYAML keeps the order of the members, since JSON is YAML.
func toYAML(data []byte) ([]byte, error) {
	var node yaml.Node
	if err := yaml.Unmarshal(data, &node); err != nil {
		return nil, fmt.Errorf("turn the answer into YAML: %w", err)
	}
	plain(&node)
	var out bytes.Buffer
	enc := yaml.NewEncoder(&out)
	enc.SetIndent(2)
	if err := enc.Encode(&node); err != nil {
		return nil, fmt.Errorf("turn the answer into YAML: %w", err)
	}
	return out.Bytes(), nil
}

// plain drops JSON's flow style and quotes, where YAML can do without.
func plain(n *yaml.Node) {
	n.Style = 0
	for _, child := range n.Content {
		plain(child)
	}
}

// ago says how long ago t was, in one or two units.
func ago(t time.Time) string {
	if t.IsZero() {
		return ""
	}
	return span(time.Since(t)) + " ago"
}

func span(d time.Duration) string {
	switch d = max(d, 0); {
	case d < time.Minute:
		return fmt.Sprintf("%ds", int(d.Seconds()))
	case d < time.Hour:
		return fmt.Sprintf("%dm", int(d.Minutes()))
	case d < 48*time.Hour:
		return fmt.Sprintf("%dh%02dm", int(d.Hours()), int(d.Minutes())%60)
	}
	return fmt.Sprintf("%dd", int(d.Hours())/24)
}

// phase paints an instance's phase.
func phase(s table.Style, v core.InstanceView) string {
	switch {
	case v.Status == nil:
		return s.Warn("placed")
	case v.Status.Phase.Over() && v.Status.Phase != core.InstanceGone:
		return s.Bad(v.Status.Phase.String())
	case v.Status.Phase == core.InstanceRunning && v.Status.Healthy:
		return s.Good("healthy")
	case v.Status.Phase == core.InstanceRunning && v.Status.Unhealthy != "":
		return s.Warn("unhealthy")
	}
	return s.Warn(v.Status.Phase.String())
}

// rolloutPhase paints a rollout's phase.
func rolloutPhase(s table.Style, p core.RolloutPhase) string {
	switch {
	case p.Good():
		return s.Good(p.String())
	case p.Over() && p != core.RolloutSuperseded, p == core.RolloutRollingBack:
		return s.Bad(p.String())
	case p == core.RolloutSuperseded:
		return s.Faint(p.String())
	}
	return s.Warn(p.String())
}

func number(n int) string {
	if n == 0 {
		return "–"
	}
	return fmt.Sprint(n)
}

func list(items []string) string { return table.Clean(strings.Join(items, " ")) }

// toYAMLValue prints a value as YAML, for people.
func toYAMLValue(v any) ([]byte, error) {
	data, err := json.Marshal(v)
	if err != nil {
		return nil, fmt.Errorf("encode: %w", err)
	}
	return toYAML(data)
}
