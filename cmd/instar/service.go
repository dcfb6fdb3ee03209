package main

import (
	"fmt"
	"strconv"

	"github.com/urfave/cli/v2"

	"github.com/instarhq/instar/cmd/instar/table"
	"github.com/instarhq/instar/core"
	"github.com/instarhq/instar/core/api/client"
)

func (u *ui) serviceCommand() *cli.Command {
	reason := &cli.StringFlag{Name: "reason", Usage: "why; kept in the audit log"}
	return &cli.Command{Name: "service", Usage: "services: list, show, history, diff, scale, delete", Subcommands: []*cli.Command{
		{Name: "list", Aliases: []string{"ls"}, Usage: "every service with its state", Description: "Example:\n  instar service list -o json", Action: u.serviceList},
		{
			Name: "show", Usage: "one service", ArgsUsage: "SERVICE", Description: "Example:\n  instar service show shop",
			Flags: []cli.Flag{atFlag()}, Action: u.serviceShow,
		},
		{Name: "history", Usage: "the revisions of a service, newest first", ArgsUsage: "SERVICE", Description: "Example:\n  instar service history shop", Action: u.serviceHistory},
		{
			Name: "diff", Usage: "what differs between two revisions", ArgsUsage: "SERVICE [FROM [TO]]",
			Description: "Without numbers: the wanted revision and the one before it.\n\nExample:\n  instar service diff shop 1 3", Action: u.serviceDiff,
		},
		{
			Name: "scale", Usage: "change the number of instances", ArgsUsage: "SERVICE COUNT", Description: "Makes no revision.\n\nExample:\n  instar service scale shop 5",
			Flags: []cli.Flag{reason}, Action: u.serviceScale,
		},
		{
			Name: "delete", Usage: "drain and remove a service", ArgsUsage: "SERVICE", Description: "The audit log keeps its history.\n\nExample:\n  instar service delete shop",
			Flags: []cli.Flag{reason, &cli.BoolFlag{Name: "yes", Aliases: []string{"y"}, Usage: "do not ask"}}, Action: u.serviceDelete,
		},
	}}
}

func atFlag() cli.Flag {
	return &cli.Uint64Flag{Name: "at", Usage: "as of this sequence number of the audit log"}
}

func (u *ui) serviceList(c *cli.Context) error {
	api, err := connect(c)
	if err != nil {
		return err
	}
	items, err := pages(func(l client.List) (core.Page[core.ServiceView], error) { return api.Services(c.Context, l) })
	if err != nil {
		return err
	}
	return u.show(c, items, func() error { return u.serviceTable(items) })
}

func (u *ui) serviceTable(items []core.ServiceView) error {
	t := table.New("SERVICE", "REVISION", "HEALTHY", "WARM", "ROLLOUT", "ROUTES")
	for i := range items {
		v := &items[i]
		s := &v.Service
		healthy := fmt.Sprintf("%d/%d", v.Healthy, s.Count)
		if v.Healthy < s.Count {
			healthy = u.style.Warn(healthy)
		}
		roll := ""
		if v.Rollout != nil {
			roll = fmt.Sprintf("%d %s", v.Rollout.Rollout.Number, rolloutPhase(u.style, v.Rollout.Rollout.Phase))
		}
		if s.Deleting {
			roll = u.style.Warn("deleting")
		}
		routes := make([]string, 0, len(v.Routes))
		for _, r := range v.Routes {
			routes = append(routes, r.Host+r.Listen+r.Path)
		}
		t.Row(s.Name, number(s.Active), healthy, number(s.Previous), roll, list(routes))
	}
	if t.Len() == 0 {
		say(u.out, "no services; declare one with: instar apply FILE\n")
		return nil
	}
	return t.Write(u.out, u.style)
}

func (u *ui) serviceShow(c *cli.Context) error {
	name, err := one(c, "service")
	if err != nil {
		return err
	}
	api, err := connect(c)
	if err != nil {
		return err
	}
	v, err := api.Service(c.Context, name, c.Uint64("at"))
	if err != nil {
		return err
	}
	return u.show(c, v, func() error { return u.serviceDetail(c, api, &v) })
}

func (u *ui) serviceDetail(c *cli.Context, api *client.Client, v *core.ServiceView) error {
	if err := u.serviceTable([]core.ServiceView{*v}); err != nil {
		return err
	}
	if c.Uint64("at") != 0 {
		return nil
	}
	say(u.out, "\n")
	items, err := pages(func(l client.List) (core.Page[core.InstanceView], error) {
		l.Service = v.Service.Name
		return api.Instances(c.Context, l)
	})
	if err != nil {
		return err
	}
	if err := u.instanceTable(items); err != nil {
		return err
	}
	if v.Rollout != nil && !v.Rollout.Rollout.Phase.Over() {
		say(u.out, "\n")
		u.printRollout(v.Rollout)
	}
	return nil
}

func (u *ui) serviceHistory(c *cli.Context) error {
	name, err := one(c, "service")
	if err != nil {
		return err
	}
	api, err := connect(c)
	if err != nil {
		return err
	}
	revisions, err := api.Revisions(c.Context, name)
	if err != nil {
		return err
	}
	svc, err := api.Service(c.Context, name, 0)
	if err != nil {
		return err
	}
	return u.show(c, revisions.Items, func() error {
		t := table.New("REVISION", "STATE", "DIGEST", "ARTIFACT", "CREATED")
		for _, r := range revisions.Items {
			t.Row(strconv.Itoa(r.Number), u.revisionState(&svc.Service, r.Number), r.Digest.Short(), r.Spec.Artifact.Digest.Short(), ago(r.Created))
		}
		return t.Write(u.out, u.style)
	})
}

func (u *ui) revisionState(s *core.Service, revision int) string {
	switch revision {
	case s.Active:
		return u.style.Good("active")
	case s.Previous:
		return u.style.Warn("warm")
	case s.Revision:
		return u.style.Warn("wanted")
	}
	return ""
}

func (u *ui) serviceDiff(c *cli.Context) error {
	if c.NArg() < 1 || c.NArg() > 3 {
		return usage("say which service, and two revisions if not the last two").withHint("instar service diff shop 1 3")
	}
	var numbers [2]int
	for i := 1; i < c.NArg(); i++ {
		n, err := strconv.Atoi(c.Args().Get(i))
		if err != nil || n < 1 {
			return usage("%q is no revision number", c.Args().Get(i))
		}
		numbers[i-1] = n
	}
	api, err := connect(c)
	if err != nil {
		return err
	}
	d, err := api.Diff(c.Context, c.Args().First(), numbers[0], numbers[1])
	if err != nil {
		return err
	}
	return u.show(c, d, func() error {
		say(u.out, "%s   revision %s → %d\n", u.style.Bold(fmt.Sprintf("service %q", d.Service)), number(d.From), d.To)
		u.printDiff(d.Changes)
		if len(d.Changes) == 0 {
			say(u.out, "  no difference\n")
		}
		return nil
	})
}

func (u *ui) serviceScale(c *cli.Context) error {
	if c.NArg() != 2 {
		return usage("say which service, and how many instances").withHint("instar service scale shop 5")
	}
	count, err := strconv.Atoi(c.Args().Get(1))
	if err != nil || count < 0 {
		return usage("%q is no number of instances", c.Args().Get(1))
	}
	api, err := connect(c)
	if err != nil {
		return err
	}
	a, err := api.Scale(c.Context, client.Write{Reason: c.String("reason")}, c.Args().First(), count)
	if err != nil {
		return err
	}
	return u.applied(c, api, a)
}

func (u *ui) serviceDelete(c *cli.Context) error {
	name, err := one(c, "service")
	if err != nil {
		return err
	}
	api, err := connect(c)
	if err != nil {
		return err
	}
	if !c.Bool("yes") {
		if err := u.confirm(fmt.Sprintf("Delete service %q, its routes and its instances?", name)); err != nil {
			return err
		}
	}
	a, err := api.DeleteService(c.Context, client.Write{Reason: c.String("reason")}, name)
	if err != nil {
		return err
	}
	return u.applied(c, api, a)
}
