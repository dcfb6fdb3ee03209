package main

import (
	"strconv"
	"strings"
	"time"

	"github.com/urfave/cli/v2"

	"github.com/instarhq/instar/cmd/instar/table"
	"github.com/instarhq/instar/core"
	"github.com/instarhq/instar/core/api/client"
)

func (u *ui) checkpointCommand() *cli.Command {
	reason := &cli.StringFlag{Name: "reason", Usage: "why; kept in the audit log"}
	return &cli.Command{Name: "checkpoint", Usage: "named points of the log, to go back to: create, list, restore, delete", Subcommands: []*cli.Command{
		{
			Name: "create", Usage: "give now, or a point in the past, a name", ArgsUsage: "NAME",
			Description: "Examples:\n  instar checkpoint create before-the-sale\n  instar checkpoint create monday -at 2026-11-23T08:00:00Z",
			Flags:       []cli.Flag{&cli.StringFlag{Name: "at", Usage: "a record's number or an RFC 3339 time (default: now)"}, reason}, Action: u.checkpointCreate,
		},
		{Name: "list", Aliases: []string{"ls"}, Usage: "every checkpoint", Description: "Example:\n  instar checkpoint list", Action: u.checkpointList},
		{
			Name: "restore", Usage: "make all services what they were then, by ordinary rollouts", ArgsUsage: "NAME|SEQ|TIME",
			Description: "Examples:\n  instar checkpoint restore before-the-sale\n  instar checkpoint restore 2026-11-23T08:00:00Z -plan",
			Flags: []cli.Flag{
				&cli.BoolFlag{Name: "plan", Usage: "only say what it would change"},
				&cli.BoolFlag{Name: "delete-newer", Usage: "delete services that did not exist then"},
				&cli.BoolFlag{Name: "yes", Usage: "do not ask"}, reason,
			},
			Action: u.checkpointRestore,
		},
		{Name: "delete", Usage: "forget a name; the log keeps what it pointed at", ArgsUsage: "NAME", Description: "Example:\n  instar checkpoint delete before-the-sale", Action: u.checkpointDelete},
	}}
}

// point reads a checkpoint's name, a record's number, or a time.
func point(text string) core.Point {
	if seq, err := strconv.ParseUint(text, 10, 64); err == nil {
		return core.Point{Seq: seq}
	}
	if at, err := time.Parse(time.RFC3339Nano, text); err == nil {
		return core.Point{Time: at}
	}
	return core.Point{Checkpoint: text}
}

func (u *ui) checkpointCreate(c *cli.Context) error {
	name, err := one(c, "checkpoint")
	if err != nil {
		return err
	}
	var at core.Point
	if text := c.String("at"); text != "" {
		if at = point(text); at.Checkpoint != "" {
			return usage("-at %s is neither a record's number nor an RFC 3339 time", text)
		}
	}
	api, err := connect(c)
	if err != nil {
		return err
	}
	receipt, err := api.CreateCheckpoint(c.Context, client.Write{Reason: c.String("reason")}, name, at)
	if err != nil {
		return err
	}
	return u.show(c, receipt, func() error {
		say(u.out, "%s checkpoint %s; back with: instar checkpoint restore %s\n", u.style.Good("✔"), name, name)
		return nil
	})
}

func (u *ui) checkpointList(c *cli.Context) error {
	api, err := connect(c)
	if err != nil {
		return err
	}
	items, err := pages(func(l client.List) (core.Page[core.Checkpoint], error) { return api.Checkpoints(c.Context, l) })
	if err != nil {
		return err
	}
	return u.show(c, items, func() error {
		t := table.New("NAME", "RECORD", "OF", "CREATED", "BY", "REASON")
		for i := range items {
			p := &items[i]
			t.Row(p.Name, strconv.FormatUint(p.Seq, 10), p.Time.Local().Format(time.DateTime), ago(p.Created), p.By, table.Clean(p.Reason))
		}
		return t.Write(u.out, u.style)
	})
}

func (u *ui) checkpointRestore(c *cli.Context) error {
	text, err := one(c, "checkpoint, record or time")
	if err != nil {
		return err
	}
	api, err := connect(c)
	if err != nil {
		return err
	}
	to := point(text)
	plan, err := api.PlanReturn(c.Context, to)
	if err != nil {
		return err
	}
	if !machine(c) {
		u.returns(&plan, c.Bool("delete-newer"))
	}
	if c.Bool("plan") {
		return u.show(c, plan, func() error { return nil })
	}
	if err := u.agreed(c, "Go back?"); err != nil {
		return err
	}
	back, err := api.Return(c.Context, client.Write{Reason: c.String("reason")}, to, c.Bool("delete-newer"))
	if err != nil {
		return err
	}
	return u.show(c, back, func() error {
		if len(back.Rollouts) == 0 {
			say(u.out, "%s nothing has to change\n", u.style.Good("✔"))
			return nil
		}
		say(u.out, "%s rollouts begun: %s\n  follow one with: instar rollout watch %s\n", u.style.Good("✔"), strings.Join(back.Rollouts, ", "), back.Rollouts[0])
		return nil
	})
}

func (u *ui) returns(r *core.Return, deleteNewer bool) {
	say(u.out, "back to record %d\n", r.Seq)
	for i := range r.Plan.Services {
		s := &r.Plan.Services[i]
		switch s.Action {
		case core.ActionNone:
			say(u.out, "  %s   as it was\n", s.Service)
		case core.ActionScale:
			say(u.out, "  %s   %d instances\n", s.Service, s.Count)
		case core.ActionCreate:
			say(u.out, "  %s   comes back, %d instances\n", s.Service, s.Count)
		default:
			say(u.out, "  %s   revision %d → %d, %d instances\n", s.Service, s.From, s.To, s.Count)
		}
	}
	for _, name := range r.Newer {
		if deleteNewer {
			say(u.out, "  %s   %s\n", name, u.style.Bad("is deleted: it did not exist then"))
		} else {
			say(u.out, "  %s   did not exist then and stays (-delete-newer deletes it)\n", name)
		}
	}
}

func (u *ui) checkpointDelete(c *cli.Context) error {
	name, err := one(c, "checkpoint")
	if err != nil {
		return err
	}
	api, err := connect(c)
	if err != nil {
		return err
	}
	receipt, err := api.DeleteCheckpoint(c.Context, client.Write{}, name)
	if err != nil {
		return err
	}
	return u.show(c, receipt, func() error {
		say(u.out, "%s checkpoint %s is forgotten\n", u.style.Good("✔"), name)
		return nil
	})
}
