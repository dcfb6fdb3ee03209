package main

import (
	"context"
	"encoding/json"
	"fmt"
	"strings"

	"github.com/urfave/cli/v2"

	"github.com/instarhq/instar/cmd/instar/table"
	"github.com/instarhq/instar/core"
)

func (u *ui) driverCommand() *cli.Command {
	return &cli.Command{Name: "driver", Usage: "drivers: list, show, docs, and to make, verify and install one", Subcommands: []*cli.Command{
		u.driverListCommand(),
		{Name: "show", Usage: "one driver with its targets", ArgsUsage: "NAME", Description: "Example:\n  instar driver show process", Action: u.driverShow},
		{Name: "docs", Usage: "what a driver's blocks may contain", ArgsUsage: "NAME", Description: "Example:\n  instar driver docs process", Action: u.driverDocs},
		u.driverNewCommand(), u.driverVerifyCommand(), u.driverInstallCommand(), u.driverRemoveCommand(),
	}}
}

func (u *ui) driverListCommand() *cli.Command {
	return &cli.Command{
		Name: "list", Aliases: []string{"ls"}, Usage: "every driver that a node has, or with -installed what this machine has",
		Description: "With -installed it reads the lock file and the driver directories of this machine's node, with or without a\n" +
			"daemon: whether each file still is the one that was accepted, and who uses it.\n\n" +
			"Example:\n  instar driver list\n  instar driver list -installed -o json",
		Flags:  append([]cli.Flag{&cli.BoolFlag{Name: "installed", Usage: "the binaries of this machine, with the lock file"}}, machineFlags()...),
		Action: u.driverList,
	}
}

func (u *ui) driverList(c *cli.Context) error {
	if c.Bool("installed") {
		return u.driverListInstalled(c)
	}
	api, err := connect(c)
	if err != nil {
		return err
	}
	drivers, err := fetchDrivers(c.Context, api)
	if err != nil {
		return err
	}
	return u.show(c, []core.DriverView(drivers), func() error {
		t := table.New("DRIVER", "KIND", "VERSION", "NODE", "SCOPE", "TARGETS", "SHA-256")
		for i := range drivers {
			d := &drivers[i].Driver
			var targets []string
			for _, nt := range drivers[i].Targets {
				name := nt.Target.Name
				if !nt.Target.Healthy {
					name = u.style.Bad(name + " (" + table.Clean(nt.Target.Reason) + ")")
				}
				targets = append(targets, name)
			}
			t.Row(d.Name, string(d.Kind), d.Version, d.Node, string(d.Scope), strings.Join(targets, " "), d.SHA256[:min(12, len(d.SHA256))])
		}
		return t.Write(u.out, u.style)
	})
}

// named finds every description with a name: one for each node, and each kind, that has it.
func (u *ui) named(ctx context.Context, c *cli.Context) (published, error) {
	name, err := one(c, "driver")
	if err != nil {
		return nil, err
	}
	api, err := connect(c)
	if err != nil {
		return nil, err
	}
	all, err := fetchDrivers(ctx, api)
	if err != nil {
		return nil, err
	}
	var out published
	for _, d := range all {
		if d.Driver.Name == name {
			out = append(out, d)
		}
	}
	if len(out) == 0 {
		return nil, core.Errorf(core.CodeNotFound, "no node has a driver %q", name).WithHint("instar driver list shows those that there are")
	}
	return out, nil
}

func (u *ui) driverShow(c *cli.Context) error {
	drivers, err := u.named(c.Context, c)
	if err != nil {
		return err
	}
	return u.show(c, []core.DriverView(drivers), func() error {
		for i := range drivers {
			d := &drivers[i].Driver
			say(u.out, "%s   %s driver, version %s, protocol %d, scope %s\n", u.style.Bold(d.Name), d.Kind, d.Version, d.Protocol, d.Scope)
			say(u.out, "  node %s   %s\n  sha256 %s\n  can: %s\n", d.Node, table.Clean(d.Path), d.SHA256, list(d.Capabilities))
			for _, nt := range drivers[i].Targets {
				say(u.out, "  target %q   %s   %s\n", nt.Target.Name, u.health(nt.Target), capacity(nt.Target.Capacity))
			}
		}
		return nil
	})
}

func (u *ui) driverDocs(c *cli.Context) error {
	drivers, err := u.named(c.Context, c)
	if err != nil {
		return err
	}
	shown := map[core.DriverKind]bool{} // the same on every node, unless their versions differ
	return u.show(c, []core.DriverView(drivers), func() error {
		for i := range drivers {
			if d := &drivers[i].Driver; !shown[d.Kind] {
				shown[d.Kind] = true
				u.printDriverDocs(d)
			}
		}
		return nil
	})
}

func (u *ui) printDriverDocs(d *core.Driver) {
	say(u.out, "%s   %s driver, version %s\n\n%s\n", u.style.Bold(d.Name), d.Kind, d.Version, wrap(table.Clean(d.Doc), 90))
	workload := map[core.DriverKind]string{
		core.DriverCompute: fmt.Sprintf("compute %q { … } in a service", d.Name),
		core.DriverTraffic: "config { … } in a route",
	}
	u.printSchema(fmt.Sprintf("%s %q \"NAME\" { … } in the daemon's configuration", d.Kind, d.Name), d.Target)
	if where := workload[d.Kind]; where != "" {
		u.printSchema(where, d.Workload)
	}
	if d.Guide == "" {
		return
	}
	say(u.out, "\n")
	for line := range strings.Lines(d.Guide) { // it has its own lines, some of them to be copied
		say(u.out, "%s\n", table.Clean(strings.TrimRight(line, "\n")))
	}
}

func (u *ui) printSchema(where string, attributes []core.Attribute) {
	say(u.out, "\n%s\n", u.style.Bold(where))
	if len(attributes) == 0 {
		say(u.out, "  takes no attributes\n")
	}
	for _, a := range attributes {
		facts := []string{typeText(a.Type)}
		if a.Required {
			facts = append(facts, "required")
		}
		if a.Sensitive {
			facts = append(facts, "sensitive")
		}
		if text := string(a.Default); text != "" && text != "null" {
			facts = append(facts, "default "+text)
		}
		say(u.out, "  %s   %s\n      %s\n", a.Name, u.style.Faint(strings.Join(facts, ", ")), strings.ReplaceAll(wrap(table.Clean(a.Doc), 84), "\n", "\n      "))
	}
}

// typeText turns cty's JSON notation into HCL's: ["list","string"] is list(string).
func typeText(raw json.RawMessage) string {
	var name string
	if json.Unmarshal(raw, &name) == nil {
		return name
	}
	var parts []json.RawMessage
	if json.Unmarshal(raw, &parts) != nil || len(parts) < 2 {
		return string(raw)
	}
	_ = json.Unmarshal(parts[0], &name) // an unknown notation is shown as it is, below
	var attributes map[string]json.RawMessage
	if json.Unmarshal(parts[1], &attributes) == nil {
		return name
	}
	return name + "(" + typeText(parts[1]) + ")"
}

// wrap breaks text into lines of at most width columns.
func wrap(text string, width int) string {
	var out strings.Builder
	column := 0
	for _, word := range strings.Fields(text) {
		if n := table.Width(word); column > 0 && column+1+n > width {
			out.WriteString("\n")
			column = 0
		} else if column > 0 {
			out.WriteString(" ")
			column++
		}
		out.WriteString(word)
		column += table.Width(word)
	}
	return out.String()
}
