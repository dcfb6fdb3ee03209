package main

import (
	"fmt"
	"regexp"
	"strconv"

	"github.com/urfave/cli/v2"

	"github.com/instarhq/instar/cmd/instar/table"
	"github.com/instarhq/instar/core"
	"github.com/instarhq/instar/core/api/client"
)

func (u *ui) rolloutCommand() *cli.Command {
	return &cli.Command{Name: "rollout", Usage: "rollouts: list, show, watch, abort", Subcommands: []*cli.Command{
		{
			Name: "list", Aliases: []string{"ls"}, Usage: "rollouts of one or every service", ArgsUsage: "[SERVICE]",
			Description: "Example:\n  instar rollout list shop",
			Flags:       []cli.Flag{&cli.BoolFlag{Name: "active", Usage: "only those that are not over"}}, Action: u.rolloutList,
		},
		{Name: "show", Usage: "one rollout with its history", ArgsUsage: "SERVICE/NUMBER", Description: "Example:\n  instar rollout show shop/3", Action: u.rolloutShow},
		{
			Name: "watch", Usage: "follow a rollout to its end", ArgsUsage: "SERVICE/NUMBER", Description: "Example:\n  instar rollout watch shop/3",
			Flags: []cli.Flag{&cli.DurationFlag{Name: "timeout", Usage: "wait no longer than this (exit code 3)"}}, Action: u.rolloutWatch,
		},
		{
			Name: "abort", Usage: "end a rollout; traffic stays, or goes back to, where it was", ArgsUsage: "SERVICE/NUMBER",
			Description: "Example:\n  instar rollout abort shop/3", Flags: []cli.Flag{&cli.StringFlag{Name: "reason", Usage: "why; kept in the audit log"}}, Action: u.rolloutAbort,
		},
	}}
}

var rolloutID = regexp.MustCompile(`^[a-z0-9-]+/[1-9][0-9]*$`)

func oneRollout(c *cli.Context) (string, error) {
	id, err := one(c, "rollout")
	if err == nil && !rolloutID.MatchString(id) {
		err = usage("%q names no rollout", id).withHint("write SERVICE/NUMBER; instar rollout list shows them")
	}
	return id, err
}

func (u *ui) rolloutList(c *cli.Context) error {
	if c.NArg() > 1 {
		return usage("one service at a time")
	}
	api, err := connect(c)
	if err != nil {
		return err
	}
	items, err := pages(func(l client.List) (core.Page[core.RolloutView], error) {
		l.Service, l.Active = c.Args().First(), c.Bool("active")
		return api.Rollouts(c.Context, l)
	})
	if err != nil {
		return err
	}
	return u.show(c, items, func() error {
		t := table.New("ROLLOUT", "KIND", "REVISION", "PHASE", "STARTED", "WHY")
		for i := range items {
			r := &items[i].Rollout
			why := r.Reason
			if r.Failure != nil {
				why = r.Failure.Message
			}
			t.Row(r.ID(), string(r.Kind), fmt.Sprintf("%s → %d", number(r.From), r.To), rolloutPhase(u.style, r.Phase), ago(r.Started), value(why))
		}
		return t.Write(u.out, u.style)
	})
}

func (u *ui) rolloutShow(c *cli.Context) error {
	id, err := oneRollout(c)
	if err != nil {
		return err
	}
	api, err := connect(c)
	if err != nil {
		return err
	}
	v, err := api.Rollout(c.Context, id)
	if err != nil {
		return err
	}
	return u.show(c, v, func() error {
		u.printRollout(&v)
		if v.Rollout.Failure != nil {
			for _, line := range v.Rollout.Failure.Logs {
				say(u.out, "    | %s\n", table.Clean(line))
			}
		}
		say(u.out, "\n")
		t := table.New("PHASE", "AT", "NOTE")
		for _, h := range v.Rollout.History {
			t.Row(rolloutPhase(u.style, h.Phase), h.At.Local().Format("2006-01-02 15:04:05.000"), table.Clean(h.Note))
		}
		return t.Write(u.out, u.style)
	})
}

func (u *ui) rolloutWatch(c *cli.Context) error {
	id, err := oneRollout(c)
	if err != nil {
		return err
	}
	api, err := connect(c)
	if err != nil {
		return err
	}
	if err := u.wait(c.Context, api, []string{id}, c.Duration("timeout"), machine(c)); err != nil || !machine(c) {
		return err
	}
	v, err := api.Rollout(c.Context, id)
	if err != nil {
		return err
	}
	return u.show(c, v, nil)
}

func (u *ui) rolloutAbort(c *cli.Context) error {
	id, err := oneRollout(c)
	if err != nil {
		return err
	}
	api, err := connect(c)
	if err != nil {
		return err
	}
	a, err := api.Abort(c.Context, client.Write{Reason: c.String("reason")}, id)
	if err != nil {
		return err
	}
	a.Rollouts = nil // an aborted rollout is not worth an exit code of its failure
	return u.applied(c, api, a)
}

func (u *ui) rollbackCommand() *cli.Command {
	return &cli.Command{
		Name: "rollback", Usage: "take a service back to an earlier revision", ArgsUsage: "SERVICE",
		Description: "While the previous revision is warm this takes less than a second.\n\nExample:\n  instar rollback shop\n  instar rollback shop -to 3",
		Flags: append(waitFlags(), &cli.IntFlag{Name: "to", Usage: "a revision number (default: the one before)"},
			&cli.StringFlag{Name: "reason", Usage: "why; kept in the audit log"}),
		Action: func(c *cli.Context) error {
			name, err := one(c, "service")
			if err != nil {
				return err
			}
			api, err := connect(c)
			if err != nil {
				return err
			}
			a, err := api.Rollback(c.Context, client.Write{Reason: c.String("reason")}, name, c.Int("to"))
			if err != nil {
				return err
			}
			return u.rolledBack(c, api, a)
		},
	}
}

// rolledBack follows a rollback. One that ends a running rollout ends as rolled_back, which is what was
// asked for and no failure.
func (u *ui) rolledBack(c *cli.Context, api *client.Client, a core.Applied) error {
	err := u.applied(c, api, a)
	if err == nil || c.Bool("detach") {
		return err
	}
	for _, id := range a.Rollouts {
		v, viewErr := api.Rollout(c.Context, id)
		if viewErr != nil || v.Rollout.Phase != core.RolloutRolledBack {
			return err
		}
	}
	return nil
}

func (u *ui) revisionCommand() *cli.Command {
	return &cli.Command{Name: "revision", Usage: "revisions: show", Subcommands: []*cli.Command{
		{Name: "show", Usage: "one immutable revision", ArgsUsage: "SERVICE NUMBER", Description: "Example:\n  instar revision show shop 2 -o json", Action: u.revisionShow},
	}}
}

func (u *ui) revisionShow(c *cli.Context) error {
	n, err := strconv.Atoi(c.Args().Get(1))
	if c.NArg() != 2 || err != nil || n < 1 {
		return usage("say which service and which revision").withHint("instar revision show shop 2")
	}
	api, err := connect(c)
	if err != nil {
		return err
	}
	r, err := api.Revision(c.Context, c.Args().First(), n)
	if err != nil {
		return err
	}
	return u.show(c, r, func() error {
		say(u.out, "%s revision %d\n  digest    %s\n  created   %s\n  artifact  %s\n            %s\n  compute   %s\n", u.style.Bold(r.Service), r.Number,
			r.Digest, r.Created.Local().Format("2006-01-02 15:04:05"), table.Clean(r.Spec.Artifact.Source), r.Spec.Artifact.Digest, r.Spec.Compute.Driver)
		data, err := toYAMLValue(r.Spec)
		if err != nil {
			return err
		}
		say(u.out, "\n%s", data)
		return nil
	})
}
