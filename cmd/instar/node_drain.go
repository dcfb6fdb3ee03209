package main

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/urfave/cli/v2"

	"github.com/instarhq/instar/cmd/instar/table"
	"github.com/instarhq/instar/core"
	"github.com/instarhq/instar/core/api/client"
)

func (u *ui) nodeDrainCommand() *cli.Command {
	return &cli.Command{
		Name: "drain", Usage: "move a node's instances elsewhere", ArgsUsage: "NODE",
		Description: "Nothing new is placed on the node. What it runs is made on other nodes first, and goes when that serves.\n" +
			"The node stays a member and carries traffic.\n\nExample:\n  instar node drain n2 -reason \"new disks\" -wait",
		Flags: []cli.Flag{
			&cli.StringFlag{Name: "reason", Usage: "why; kept in the audit log"},
			&cli.BoolFlag{Name: "undo", Usage: "let the node take instances again"},
			&cli.BoolFlag{Name: "wait", Usage: "until the node is empty"},
			&cli.DurationFlag{Name: "timeout", Usage: "wait no longer than this", Value: 30 * time.Minute},
		},
		Action: u.nodeDrain,
	}
}

func (u *ui) nodeDrain(c *cli.Context) error {
	node, err := one(c, "node")
	if err != nil {
		return err
	}
	if c.Bool("undo") && c.Bool("wait") {
		return usage("-undo is done at once: there is nothing to -wait for")
	}
	api, err := connect(c)
	if err != nil {
		return err
	}
	write := client.Write{Reason: c.String("reason")}
	if c.Bool("undo") {
		a, err := api.UndrainNode(c.Context, write, node)
		if err != nil {
			return err
		}
		return u.show(c, a, func() error { say(u.out, "node %s takes instances again\n", node); return nil })
	}
	a, err := api.DrainNode(c.Context, write, node)
	if err != nil {
		return err
	}
	if !c.Bool("wait") {
		return u.show(c, a, func() error { return u.drainBegun(c, api, node) })
	}
	return u.drainWait(c, api, node)
}

func (u *ui) drainBegun(c *cli.Context, api *client.Client, node string) error {
	v, err := api.Drain(c.Context, node)
	if err != nil {
		return err
	}
	say(u.out, "%s\n", drainText(&v))
	if !v.Done {
		say(u.out, "follow it with: instar node drain %s -wait\n", node)
	}
	return nil
}

// drainWait looks until the node is empty, and says what has changed meanwhile.
func (u *ui) drainWait(c *cli.Context, api *client.Client, node string) error {
	ctx, cancel := context.WithTimeout(c.Context, c.Duration("timeout"))
	defer cancel()
	tick := time.NewTicker(redraw)
	defer tick.Stop()
	last := ""
	for {
		v, err := api.Drain(ctx, node)
		switch {
		case err == nil && v.Done:
			return u.show(c, v, func() error { say(u.out, "%s\n", drainText(&v)); return nil })
		case err == nil && v.Drain == nil:
			return &exitError{code: exitFailed, message: "node " + node + " is not drained any more", hint: "somebody has taken it back"}
		case err == nil:
			if text := drainText(&v); text != last && !machine(c) {
				say(u.out, "%s\n", text)
				last = text
			}
		case !core.Retryable(err) && ctx.Err() == nil:
			return err
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			message := "no longer waiting; the node is emptied all the same"
			if errors.Is(ctx.Err(), context.DeadlineExceeded) {
				message = fmt.Sprintf("not empty within %s; it goes on", c.Duration("timeout"))
			}
			return &exitError{code: exitTimeout, message: message, hint: "instar node drain " + node + " -wait"}
		}
	}
}

// drainText is one line: "node n2: 3 instances left: shop 2 (1 ending; wanted 1, room for 0: …), hello 1".
func drainText(v *core.DrainView) string {
	if v.Done {
		return "node " + v.Node + " is empty"
	}
	all, parts := 0, make([]string, 0, len(v.Left))
	for _, l := range v.Left {
		all += l.Instances
		part := fmt.Sprintf("%s %d", l.Service, l.Instances)
		var notes []string
		if l.Ending > 0 {
			notes = append(notes, fmt.Sprintf("%d ending", l.Ending))
		}
		if l.Waiting != "" {
			notes = append(notes, table.Clean(l.Waiting))
		}
		if len(notes) > 0 {
			part += " (" + strings.Join(notes, "; ") + ")"
		}
		parts = append(parts, part)
	}
	noun := "instances"
	if all == 1 {
		noun = "instance"
	}
	return fmt.Sprintf("node %s: %d %s left: %s", v.Node, all, noun, strings.Join(parts, ", "))
}
