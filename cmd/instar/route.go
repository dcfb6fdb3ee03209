package main

import (
	"fmt"
	"strconv"
	"strings"

	"github.com/urfave/cli/v2"

	"github.com/instarhq/instar/cmd/instar/table"
	"github.com/instarhq/instar/core"
	"github.com/instarhq/instar/core/api/client"
)

func (u *ui) routeCommand() *cli.Command {
	return &cli.Command{Name: "route", Usage: "routes: list, show", Subcommands: []*cli.Command{
		{Name: "list", Aliases: []string{"ls"}, Usage: "every route with its pools", Description: "Example:\n  instar route list", Action: u.routeList},
		{
			Name: "show", Usage: "one route with its endpoints and what the data planes have", ArgsUsage: "ROUTE",
			Description: "Example:\n  instar route show shop", Action: u.routeShow,
		},
	}}
}

func (u *ui) routeList(c *cli.Context) error {
	api, err := connect(c)
	if err != nil {
		return err
	}
	items, err := pages(func(l client.List) (core.Page[core.RouteView], error) { return api.Routes(c.Context, l) })
	if err != nil {
		return err
	}
	return u.show(c, items, func() error {
		t := table.New("ROUTE", "SERVICE", "LISTEN", "MATCH", "POOLS", "GENERATION", "CONFIRMED BY")
		for i := range items {
			r := &items[i].Route
			t.Row(r.Name, r.Service, r.Spec.Listen, r.Spec.Host+r.Spec.Path, u.pools(r), strconv.FormatUint(r.Generation, 10), u.confirmed(&items[i]))
		}
		return t.Write(u.out, u.style)
	})
}

// pools says which revision gets which share.
func (u *ui) pools(r *core.Route) string {
	total := 0
	for _, p := range r.Pools {
		total += p.Weight
	}
	parts := make([]string, 0, len(r.Pools))
	for _, p := range r.Pools {
		switch {
		case p.Weight > 0:
			parts = append(parts, u.style.Good(fmt.Sprintf("%d:%d%%", p.Revision, 100*p.Weight/total)))
		case p.Preview:
			parts = append(parts, u.style.Warn(fmt.Sprintf("%d:preview", p.Revision)))
		default:
			parts = append(parts, u.style.Faint(fmt.Sprintf("%d:warm", p.Revision)))
		}
	}
	return strings.Join(parts, " ")
}

func (u *ui) confirmed(v *core.RouteView) string {
	var parts []string
	for _, s := range v.Statuses {
		name := s.Node + "/" + s.Target
		if s.Generation < v.Route.Generation {
			name = u.style.Bad(fmt.Sprintf("%s (at %d)", name, s.Generation))
		}
		parts = append(parts, name)
	}
	return strings.Join(parts, " ")
}

func (u *ui) routeShow(c *cli.Context) error {
	name, err := one(c, "route")
	if err != nil {
		return err
	}
	api, err := connect(c)
	if err != nil {
		return err
	}
	v, err := api.Route(c.Context, name)
	if err != nil {
		return err
	}
	return u.show(c, v, func() error {
		r := &v.Route
		say(u.out, "%s   service %s   %s %s%s%s   generation %d\n", u.style.Bold(r.Name), r.Service, r.Spec.Protocol, r.Spec.Host, r.Spec.Listen, r.Spec.Path, r.Generation)
		t := table.New("REVISION", "WEIGHT", "PREVIEW", "INSTANCE", "ADDRESS")
		for _, p := range r.Pools {
			for _, e := range p.Endpoints {
				t.Row(strconv.Itoa(p.Revision), strconv.Itoa(p.Weight), yes(p.Preview), e.Instance, e.Address)
			}
		}
		if err := t.Write(u.out, u.style); err != nil {
			return err
		}
		for _, s := range v.Statuses {
			say(u.out, "%s/%s %s has generation %d since %s", s.Node, s.Target, s.Driver, s.Generation, s.AppliedAt.Local().Format("15:04:05.000"))
			if s.Failure != "" {
				say(u.out, "   %s", u.style.Bad(table.Clean(s.Failure)))
			}
			say(u.out, "\n")
		}
		return nil
	})
}

func yes(b bool) string {
	if b {
		return "yes"
	}
	return ""
}
