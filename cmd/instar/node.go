package main

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/urfave/cli/v2"

	"github.com/instarhq/instar/cmd/instar/table"
	"github.com/instarhq/instar/core"
	"github.com/instarhq/instar/core/api/client"
)

func (u *ui) nodeCommand() *cli.Command {
	return &cli.Command{Name: "node", Usage: "nodes: list, show, drain", Subcommands: []*cli.Command{
		{
			Name: "list", Aliases: []string{"ls"}, Usage: "every node, with its role, its state and its targets",
			Description: "Example:\n  instar node list", Action: u.nodeList,
		},
		{
			Name: "show", Usage: "one node with its targets and instances", ArgsUsage: "NODE",
			Description: "Example:\n  instar node show n2", Action: u.nodeShow,
		},
		u.nodeDrainCommand(),
	}}
}

// nodes joins what nodes say of themselves with what membership knows of them.
func nodes(ctx context.Context, api *client.Client) ([]core.NodeView, error) {
	page, err := pages(func(l client.List) (core.Page[core.NodeView], error) { return api.NodeViews(ctx, l) })
	return page, err
}

func (u *ui) nodeList(c *cli.Context) error {
	if err := none(c); err != nil {
		return err
	}
	api, err := connect(c)
	if err != nil {
		return err
	}
	items, err := nodes(c.Context, api)
	if err != nil {
		return err
	}
	return u.show(c, items, func() error { return u.nodeTable(items) })
}

func (u *ui) nodeTable(items []core.NodeView) error {
	t := table.New("NODE", "ROLE", "STATE", "INSTANCES", "VERSION", "ADDRESS", "TARGETS")
	for i := range items {
		v := &items[i]
		t.Row(v.Name, u.nodeRole(v), u.nodeState(v), fmt.Sprint(v.Instances), nodeVersion(v), nodeAddress(v), u.targets(v))
	}
	return t.Write(u.out, u.style)
}

func nodeVersion(v *core.NodeView) string {
	if v.Node == nil {
		return "–"
	}
	return v.Node.Version
}

func nodeAddress(v *core.NodeView) string {
	if v.Member == nil {
		return ""
	}
	return v.Member.Address
}

func (u *ui) nodeRole(v *core.NodeView) string {
	switch {
	case v.Leader:
		return u.style.Good("leader")
	case v.Member == nil:
		return ""
	}
	return string(v.Member.Role)
}

func (u *ui) nodeState(v *core.NodeView) string {
	switch {
	case v.Member != nil && v.Member.State != core.MemberActive:
		return u.style.Warn(string(v.Member.State))
	case v.Status != nil && v.Status.State != core.NodeReady:
		return u.style.Bad(string(v.Status.State))
	case v.Member != nil && v.Member.Drain != nil:
		return u.style.Warn("drained")
	case v.Node == nil:
		return u.style.Warn("joining")
	}
	return u.style.Good(string(core.NodeReady))
}

// targets names the targets, and what is wrong with those that are not healthy.
func (u *ui) targets(v *core.NodeView) string {
	if v.Node == nil {
		return ""
	}
	out := ""
	for i := range v.Node.Targets {
		t := &v.Node.Targets[i]
		if out != "" {
			out += " "
		}
		name := t.Driver + "/" + t.Name
		if !t.Healthy {
			name = u.style.Bad(name + "!")
		}
		out += name
	}
	return out
}

func (u *ui) nodeShow(c *cli.Context) error {
	name, err := one(c, "node")
	if err != nil {
		return err
	}
	api, err := connect(c)
	if err != nil {
		return err
	}
	v, err := api.NodeView(c.Context, name)
	if err != nil {
		return err
	}
	instances, err := pages(func(l client.List) (core.Page[core.InstanceView], error) {
		l.Node = name
		return api.Instances(c.Context, l)
	})
	if err != nil {
		return err
	}
	return u.show(c, v, func() error { return u.printNode(&v, instances) })
}

func (u *ui) printNode(v *core.NodeView, instances []core.InstanceView) error {
	say(u.out, "%s   %s   %s", u.style.Bold(v.Name), u.nodeRole(v), u.nodeState(v))
	if v.Status != nil && v.Status.State != core.NodeReady {
		say(u.out, " since %s: %s", v.Status.Since.Local().Format("15:04:05"), table.Clean(v.Status.Reason))
	}
	say(u.out, "\n")
	if m := v.Member; m != nil {
		say(u.out, "address %s   member since %s", m.Address, m.Joined.Local().Format(time.DateTime))
		if m.Drain != nil {
			say(u.out, "   drained by %s since %s", m.Drain.By, m.Drain.Since.Local().Format(time.DateTime))
		}
		say(u.out, "\n")
	}
	if n := v.Node; n != nil {
		say(u.out, "instard %s since %s   reads stored formats up to level %d", n.Version, n.Started.Local().Format(time.DateTime), max(n.Level, 1))
		if n.API != "" {
			say(u.out, "   API %s", n.API)
		}
		for _, key := range slices.Sorted(maps.Keys(n.Labels)) {
			say(u.out, "   %s=%s", key, n.Labels[key])
		}
		say(u.out, "\n\n")
		t := table.New("KIND", "DRIVER", "TARGET", "SCOPE", "STATE", "CAPACITY")
		for _, target := range n.Targets {
			t.Row(string(target.Kind), target.Driver, target.Name, string(target.Scope), u.health(target), capacity(target.Capacity))
		}
		if err := t.Write(u.out, u.style); err != nil {
			return err
		}
	}
	if len(instances) == 0 {
		return nil
	}
	say(u.out, "\n")
	return u.instanceTable(instances)
}
