package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/urfave/cli/v2"

	"github.com/instarhq/instar/cmd/instar/table"
	"github.com/instarhq/instar/core"
	"github.com/instarhq/instar/core/api/client"
)

func (u *ui) eventsCommand() *cli.Command {
	return &cli.Command{
		Name: "events", Usage: "what has happened, in sentences",
		Description: "Examples:\n  instar events -since 24h\n  instar events -f -service shop\n\n" +
			"Rollouts and their phases, instances that failed and why, nodes, drivers, members, snapshots. They are derived\n" +
			"from the audit log: instar audit show SEQ has the record. With -f, -o json prints an object a line.",
		Flags: []cli.Flag{
			&cli.BoolFlag{Name: "f", Aliases: []string{"follow"}, Usage: "go on with what happens from now on"},
			&cli.DurationFlag{Name: "since", Value: time.Hour, Usage: "begin so long ago"},
			&cli.Uint64Flag{Name: "after", Usage: "begin after the record `SEQ`, whenever it was"},
			&cli.BoolFlag{Name: "all", Usage: "begin with the first record"},
			&cli.StringFlag{Name: "service", Usage: "only what is about this service"},
		},
		Action: u.events,
	}
}

func (u *ui) events(c *cli.Context) error {
	if err := none(c); err != nil {
		return err
	}
	want := client.Events{
		After: c.Uint64("after"), FromStart: c.Bool("all"), Since: c.Duration("since"), Follow: c.Bool("f"), Service: c.String("service"),
	}
	if want.Since <= 0 {
		return usage("-since %s: it is a time that has passed, as in -since 24h", want.Since)
	}
	format := flag(c, "o")
	if want.Follow && format == "yaml" {
		return usage("-o yaml cannot be followed").withHint("-o json prints an object a line")
	}
	api, err := connect(c)
	if err != nil {
		return err
	}
	all := []core.Notice{} // for programs, without -f
	for n, err := range api.Notices(c.Context, want) {
		if err != nil {
			if c.Err() != nil && errors.Is(err, c.Err()) {
				return nil // somebody has seen enough
			}
			return err
		}
		switch {
		case format == "table":
			err = u.notice(&n)
		case want.Follow:
			err = json.NewEncoder(u.out).Encode(n)
		default:
			all = append(all, n)
		}
		if err != nil {
			return err
		}
	}
	if want.Follow {
		return nil
	}
	return u.show(c, all, func() error { return nil }) // for people it is printed as it comes
}

// notice prints a line for people.
func (u *ui) notice(n *core.Notice) error {
	mark := " "
	switch n.Severity {
	case core.SeverityCritical:
		mark = u.style.Bad("!")
	case core.SeverityWarning:
		mark = u.style.Warn("!")
	default: // nothing to worry about
	}
	_, err := fmt.Fprintf(u.out, "%s  %s %s %s\n",
		u.style.Faint(n.Time.Local().Format("2006-01-02 15:04:05")), mark, table.Pad(string(n.Topic), len("instance")), table.Clean(n.Message))
	return err
}
