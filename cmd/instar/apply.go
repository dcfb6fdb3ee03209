package main

import (
	"bufio"
	"context"
	"fmt"
	"os"
	"regexp"
	"strings"

	"github.com/hashicorp/hcl/v2"
	"github.com/urfave/cli/v2"

	"github.com/instarhq/instar/cmd/instar/table"
	"github.com/instarhq/instar/core"
	"github.com/instarhq/instar/core/api/client"
	"github.com/instarhq/instar/core/spec"
)

// specFlags are those of every command that reads declarations.
func specFlags() []cli.Flag {
	return []cli.Flag{
		&cli.StringSliceFlag{Name: "var", Usage: "set a variable: -var version=2 (may be repeated)"},
		&cli.StringSliceFlag{Name: "var-file", Usage: "read variables from a file (may be repeated)"},
	}
}

func (u *ui) applyCommand() *cli.Command {
	return &cli.Command{
		Name: "apply", Usage: "declare services, and wait for their rollouts", ArgsUsage: "FILE|DIR…",
		Description: "Shows what would change, asks, and follows the rollouts until the new revisions serve.\n\n" +
			"Example:\n  instar apply shop.hcl -var version=2",
		Flags: append(specFlags(), append(waitFlags(),
			&cli.BoolFlag{Name: "yes", Aliases: []string{"y", "auto-approve"}, Usage: "do not ask"},
			&cli.StringFlag{Name: "reason", Usage: "why; kept in the audit log"})...),
		Action: u.apply,
	}
}

// waitFlags are those of every command that begins rollouts.
func waitFlags() []cli.Flag {
	return []cli.Flag{
		&cli.BoolFlag{Name: "detach", Aliases: []string{"d"}, Usage: "do not wait for the rollouts"},
		&cli.DurationFlag{Name: "timeout", Usage: "wait no longer than this (exit code 3); the rollouts go on"},
	}
}

func (u *ui) planCommand() *cli.Command {
	return &cli.Command{
		Name: "plan", Usage: "show what apply would change, and why", ArgsUsage: "FILE|DIR…",
		Description: "Exit code 0: no change, 2: changes, 1: error.\n\nExample:\n  instar plan shop.hcl -var version=2",
		Flags:       specFlags(), Action: u.plan,
	}
}

func (u *ui) validateCommand() *cli.Command {
	return &cli.Command{
		Name: "validate", Usage: "check declarations without applying them", ArgsUsage: "FILE|DIR…",
		Description: "Works without a daemon too; then the bodies of driver blocks are not checked, and it says so.\n\n" +
			"Example:\n  instar validate shop.hcl",
		Flags: specFlags(), Action: u.validate,
	}
}

// published finds driver descriptions that the cluster has published.
type published []core.DriverView

// Driver implements spec.Schemas.
func (p published) Driver(kind core.DriverKind, name string) (core.Driver, bool) {
	for i := range p {
		if p[i].Driver.Kind == kind && p[i].Driver.Name == name {
			return p[i].Driver, true
		}
	}
	return core.Driver{}, false
}

// fetchDrivers reads every page of the published drivers.
func fetchDrivers(ctx context.Context, c *client.Client) (published, error) {
	return pages(func(l client.List) (core.Page[core.DriverView], error) { return c.Drivers(ctx, l) })
}

// pages reads a list to its end.
func pages[T any](read func(client.List) (core.Page[T], error)) ([]T, error) {
	var out []T
	list := client.List{Limit: 1000}
	for {
		p, err := read(list)
		if err != nil {
			return nil, err
		}
		out = append(out, p.Items...)
		if p.Next == "" {
			return out, nil
		}
		list.Cursor = p.Next
	}
}

// evaluate reads the declarations that the command line names. schemas nil: driver bodies are not checked.
func (u *ui) evaluate(c *cli.Context, schemas spec.Schemas) (core.Set, error) {
	if !c.Args().Present() {
		return core.Set{}, usage("say which files or directories to read").withHint("instar %s shop.hcl", c.Command.Name)
	}
	variables := map[string]string{}
	for _, v := range c.StringSlice("var") {
		name, value, ok := strings.Cut(v, "=")
		if !ok {
			return core.Set{}, usage("-var %q has no value", v).withHint("write -var NAME=VALUE")
		}
		variables[name] = value
	}
	sources, diags := spec.Load(c.Args().Slice())
	var set core.Set
	if !diags.HasErrors() {
		var more hcl.Diagnostics
		set, more = sources.Evaluate(spec.Options{
			Variables: variables, VarFiles: c.StringSlice("var-file"), Environ: os.Environ(), Schemas: schemas,
		})
		diags = append(diags, more...)
	}
	if len(diags) > 0 {
		if err := u.diagnose(c, sources, diags); err != nil {
			return set, err
		}
	}
	if diags.HasErrors() {
		return set, &exitError{code: exitFailed}
	}
	return set, nil
}

// diagnose prints diagnostics with file, line and caret, or as JSON.
func (u *ui) diagnose(c *cli.Context, sources *spec.Sources, diags hcl.Diagnostics) error {
	if machine(c) {
		return u.show(c, map[string]any{"diagnostics": spec.Diagnostics(diags)}, nil)
	}
	return spec.Format(u.err, diags, sources.Files(), u.style.Color, terminalWidth())
}

func (u *ui) validate(c *cli.Context) error {
	schemas, reached := spec.Schemas(nil), error(nil)
	if api, err := connect(c); err == nil {
		drivers, err := fetchDrivers(c.Context, api)
		if err == nil {
			schemas = drivers
		}
		reached = err
	}
	set, err := u.evaluate(c, schemas)
	if err != nil {
		return err
	}
	return u.show(c, set, func() error {
		say(u.out, "%s %d services, %d configs\n", u.style.Good("valid:"), len(set.Services), len(set.Configs))
		if schemas == nil {
			say(u.out, "%s the bodies of driver blocks were not checked: %v\n", u.style.Warn("but:"), reached)
		}
		return nil
	})
}

func (u *ui) plan(c *cli.Context) error {
	api, err := connect(c)
	if err != nil {
		return err
	}
	_, plan, err := u.planned(c, api)
	if err != nil {
		return err
	}
	if err := u.show(c, plan, func() error { return u.printPlan(&plan) }); err != nil {
		return err
	}
	if plan.Changes() {
		return &exitError{code: exitUsage}
	}
	return nil
}

func (u *ui) planned(c *cli.Context, api *client.Client) (core.Set, core.Plan, error) {
	drivers, err := fetchDrivers(c.Context, api)
	if err != nil {
		return core.Set{}, core.Plan{}, err
	}
	set, err := u.evaluate(c, drivers)
	if err != nil {
		return set, core.Plan{}, err
	}
	plan, err := api.Plan(c.Context, set)
	return set, plan, err
}

func (u *ui) apply(c *cli.Context) error {
	api, err := connect(c)
	if err != nil {
		return err
	}
	set, plan, err := u.planned(c, api)
	if err != nil {
		return err
	}
	if !machine(c) {
		if err := u.printPlan(&plan); err != nil {
			return err
		}
	}
	if plan.Changes() && !c.Bool("yes") {
		if err := u.confirm("Apply?"); err != nil {
			return err
		}
	}
	expect := map[string]uint64{}
	for i := range plan.Services {
		expect[plan.Services[i].Service] = plan.Services[i].Seq
	}
	applied, err := api.Apply(c.Context, client.Write{Reason: c.String("reason")}, set, expect)
	if err != nil {
		return err
	}
	return u.applied(c, api, applied)
}

// confirm asks on a terminal; elsewhere nobody can answer, so it refuses.
func (u *ui) confirm(question string) error {
	if !u.prompts {
		return usage("%s nobody can answer without a terminal", question).withHint("-yes answers")
	}
	say(u.out, "%s [y/N] ", question)
	answer, err := bufio.NewReader(u.in).ReadString('\n')
	if err != nil && answer == "" {
		return fmt.Errorf("read the answer: %w", err)
	}
	switch strings.ToLower(strings.TrimSpace(answer)) {
	case "y", "yes":
		return nil
	}
	return &exitError{code: exitFailed, message: "nothing was changed"}
}

// applied prints the answer to a write and follows the rollouts that it began.
func (u *ui) applied(c *cli.Context, api *client.Client, a core.Applied) error {
	switch {
	case machine(c):
		if err := u.show(c, a, nil); err != nil {
			return err
		}
	case a.Receipt.Seq == 0:
		say(u.out, "nothing to change\n")
	case len(a.Rollouts) == 0 || c.Bool("detach"):
		say(u.out, "record %d", a.Receipt.Seq)
		for _, id := range a.Rollouts {
			say(u.out, "  rollout %s", id)
		}
		say(u.out, "\n")
	}
	if len(a.Rollouts) == 0 || c.Bool("detach") {
		return nil
	}
	return u.wait(c.Context, api, a.Rollouts, c.Duration("timeout"), machine(c))
}

// printPlan shows a plan as DESIGN §10 draws it.
func (u *ui) printPlan(plan *core.Plan) error {
	for i := range plan.Services {
		u.printServicePlan(&plan.Services[i])
	}
	if len(plan.Services) == 0 {
		say(u.out, "no services are declared\n")
	}
	return nil
}

func (u *ui) printServicePlan(p *core.ServicePlan) {
	name := u.style.Bold(fmt.Sprintf("service %q", p.Service))
	switch p.Action {
	case core.ActionNone:
		say(u.out, "%s   no change   revision %d\n", name, p.To)
		return
	case core.ActionCreate:
		say(u.out, "%s   new, revision %d   %s\n", name, p.To, p.Strategy)
	case core.ActionScale:
		say(u.out, "%s   revision %d   scale\n", name, p.To)
	case core.ActionReturn:
		say(u.out, "%s   revision %d → %d (as it was before)   %s\n", name, p.From, p.To, p.Strategy)
	default:
		say(u.out, "%s   revision %d → %d   %s\n", name, p.From, p.To, p.Strategy)
	}
	if p.Action != core.ActionCreate {
		u.printDiff(p.Diff)
	}
	switch {
	case p.Creates > 0 && len(p.Replaces) > 0 && p.Strategy == core.StrategyRolling:
		say(u.out, "    %s will be made, %d replaced step by step (max_surge %s, max_unavailable %s): %s\n",
			instances(p.Creates), len(p.Replaces), p.MaxSurge, p.MaxUnavailable, some(p.Replaces))
	case p.Creates > 0 && len(p.Replaces) > 0:
		say(u.out, "    %s will be made, %d replaced after the switch: %s\n", instances(p.Creates), len(p.Replaces), some(p.Replaces))
	case p.Creates > 0:
		say(u.out, "    %s will be made\n", instances(p.Creates))
	}
}

func instances(n int) string {
	if n == 1 {
		return "1 instance"
	}
	return fmt.Sprintf("%d instances", n)
}

// some lists a few of many.
func some(items []string) string {
	const most = 5
	if len(items) <= most {
		return strings.Join(items, " ")
	}
	return fmt.Sprintf("%s and %d more", strings.Join(items[:most], " "), len(items)-most)
}

func (u *ui) printDiff(diff []core.Diff) {
	width := 0
	for _, d := range diff {
		width = max(width, table.Width(d.Path))
	}
	for _, d := range diff {
		mark := u.style.Warn("~")
		switch {
		case d.Old == "":
			mark = u.style.Good("+")
		case d.New == "":
			mark = u.style.Bad("-")
		}
		say(u.out, "  %s %s  %s\n", mark, table.Pad(d.Path, width), change(d))
	}
}

func change(d core.Diff) string {
	switch {
	case d.Old == "":
		return value(d.New)
	case d.New == "":
		return value(d.Old)
	}
	return value(d.Old) + " → " + value(d.New)
}

var digests = regexp.MustCompile(`(sha256:[0-9a-f]{8})[0-9a-f]{56}`)

// value shortens digests and what would not fit a line.
func value(text string) string {
	const most = 60
	text = digests.ReplaceAllString(table.Clean(text), "$1…")
	if runes := []rune(text); len(runes) > most {
		return string(runes[:most]) + "…"
	}
	return text
}
