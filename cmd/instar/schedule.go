package main

import (
	"fmt"
	"strings"
	"time"

	"github.com/urfave/cli/v2"

	"github.com/instarhq/instar/cmd/instar/table"
	"github.com/instarhq/instar/core"
	"github.com/instarhq/instar/core/api/client"
)

func (u *ui) scheduleCommand(artifacts, keep, keepFor cli.Flag) *cli.Command {
	return &cli.Command{Name: "schedule", Usage: "snapshots that are made by themselves: set, list, delete", Subcommands: []*cli.Command{
		{
			Name: "set", Usage: "make snapshots from now on, or change how", ArgsUsage: "NAME",
			Description: "Example:\n  instar snapshot schedule set nightly -every 24h -to s3://backups?region=eu-central-1 -keep 30 -artifacts",
			Flags: []cli.Flag{
				&cli.DurationFlag{Name: "every", Usage: "how often", Required: true},
				&cli.StringFlag{Name: "to", Usage: "a directory that every voter has, or a bucket", Required: true},
				artifacts, keep, keepFor,
			},
			Action: u.scheduleSet,
		},
		{Name: "list", Aliases: []string{"ls"}, Usage: "schedules, and how they go", Description: "Example:\n  instar snapshot schedule list", Action: u.scheduleList},
		{Name: "delete", Usage: "make no more of them; the files stay", ArgsUsage: "NAME", Description: "Example:\n  instar snapshot schedule delete nightly", Action: u.scheduleDelete},
	}}
}

func (u *ui) scheduleSet(c *cli.Context) error {
	name, err := one(c, "schedule")
	if err != nil {
		return err
	}
	api, err := connect(c)
	if err != nil {
		return err
	}
	receipt, err := api.PutSchedule(c.Context, client.Write{}, core.Schedule{
		Format: core.Format, Name: name, Every: core.Duration(c.Duration("every")), URL: c.String("to"),
		Keep: c.Int("keep"), KeepFor: core.Duration(c.Duration("keep-for")), Artifacts: c.Bool("artifacts"),
	})
	if err != nil {
		return err
	}
	return u.show(c, receipt, func() error {
		say(u.out, "%s a snapshot every %s to %s\n", u.style.Good("✔"), c.Duration("every"), c.String("to"))
		return nil
	})
}

func (u *ui) scheduleList(c *cli.Context) error {
	api, err := connect(c)
	if err != nil {
		return err
	}
	items, err := pages(func(l client.List) (core.Page[core.Schedule], error) { return api.Schedules(c.Context, l) })
	if err != nil {
		return err
	}
	return u.show(c, items, func() error {
		t := table.New("NAME", "EVERY", "TO", "KEEPS", "LAST", "STATE")
		for i := range items {
			s := &items[i]
			last, how := "none yet", u.style.Good("ok")
			if s.Last != nil {
				last = ago(s.Last.Time) + ", " + size(s.Last.Bytes)
			}
			if s.Failing != nil {
				how = u.style.Bad("failing since " + s.Failing.Since.Local().Format(time.DateTime) + ": " + table.Clean(s.Failing.Error))
			}
			t.Row(s.Name, s.Every.String(), s.URL, keeps(s), last, how)
		}
		return t.Write(u.out, u.style)
	})
}

func keeps(s *core.Schedule) string {
	var parts []string
	if s.Keep > 0 {
		parts = append(parts, fmt.Sprintf("the newest %d", s.Keep))
	}
	if s.KeepFor > 0 {
		parts = append(parts, s.KeepFor.String())
	}
	if len(parts) == 0 {
		return "all"
	}
	return strings.Join(parts, ", ")
}

func (u *ui) scheduleDelete(c *cli.Context) error {
	name, err := one(c, "schedule")
	if err != nil {
		return err
	}
	api, err := connect(c)
	if err != nil {
		return err
	}
	receipt, err := api.DeleteSchedule(c.Context, client.Write{}, name)
	if err != nil {
		return err
	}
	return u.show(c, receipt, func() error {
		say(u.out, "%s schedule %s is gone; its snapshots stay\n", u.style.Good("✔"), name)
		return nil
	})
}
