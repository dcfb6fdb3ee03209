package main

import (
	"context"
	"fmt"
	"io"
	"os"
	"strings"
	"time"

	"github.com/urfave/cli/v2"

	"github.com/instarhq/instar/cmd/instar/table"
	"github.com/instarhq/instar/core"
	"github.com/instarhq/instar/core/api/client"
)

func (u *ui) recoveryCommand() *cli.Command {
	return &cli.Command{Name: "recovery", Usage: "after a restore: show, approve", Subcommands: []*cli.Command{
		{
			Name: "show", Usage: "what runs, against what was restored", Description: "Example:\n  instar recovery show", Action: u.recoveryShow,
		},
		{
			Name: "approve", Usage: "let the restored cluster act", Description: "Example:\n  instar recovery approve",
			Flags: []cli.Flag{
				&cli.BoolFlag{Name: "missing", Usage: "go on although targets have not said what they have: it is replaced elsewhere"},
				&cli.BoolFlag{Name: "destroy-unknown", Usage: "also end what the snapshot knows nothing of, once traffic is where it should be"},
				&cli.BoolFlag{Name: "yes", Usage: "do not ask"},
				&cli.StringFlag{Name: "reason", Usage: "why; kept in the audit log"},
			},
			Action: u.recoveryApprove,
		},
	}}
}

func (u *ui) snapshotRestore(c *cli.Context) error {
	path, err := one(c, "file")
	if err != nil {
		return err
	}
	if c.Bool("rebuild") && c.Bool("approve") {
		return usage("-rebuild approves by itself, -approve asks: give one of them")
	}
	if err := u.agreed(c, "Replace the state of the cluster by that of "+path+"?"); err != nil {
		return err
	}
	api, err := connect(c)
	if err != nil {
		return err
	}
	receipt, err := u.restore(c, api, path)
	if err != nil {
		return err
	}
	if machine(c) {
		return u.show(c, receipt, nil)
	}
	say(u.out, "%s restored: record %d of %s says from what\n", u.style.Good("✔"), receipt.Seq, receipt.Origin)
	if c.Bool("rebuild") {
		say(u.out, "  it acts as soon as every node has said what runs: instar recovery show\n")
		return nil
	}
	if !c.Bool("approve") {
		say(u.out, "  nothing is touched yet. Next: instar recovery show, then instar recovery approve\n")
		return nil
	}
	view, err := u.found(c, api, c.Duration("timeout"))
	if err != nil {
		return err
	}
	return u.approve(c, api, &view, core.ApproveRequest{})
}

func (u *ui) restore(c *cli.Context, api *client.Client, path string) (core.Receipt, error) {
	write := client.Write{Reason: c.String("reason")}
	var file io.Reader
	from := path
	if !strings.Contains(path, "://") {
		f, err := os.Open(path)
		if err != nil {
			return core.Receipt{}, fmt.Errorf("restore: %w", err)
		}
		defer func() { _ = f.Close() }() // only read
		file, from = f, ""
	}
	done := u.waiting("restoring " + path)
	defer done()
	return api.Restore(c.Context, write, file, from, c.Bool("rebuild"))
}

// found waits until every target has said what it has, or time is up.
func (u *ui) found(c *cli.Context, api *client.Client, patience time.Duration) (core.RecoveryView, error) {
	ctx, cancel := context.WithTimeout(c.Context, patience)
	defer cancel()
	done := u.waiting("waiting for what the nodes find")
	defer done()
	tick := time.NewTicker(time.Second)
	defer tick.Stop()
	for {
		view, err := api.Recovery(ctx)
		if err == nil && len(view.Silent) == 0 && len(view.Findings) > 0 {
			return view, nil
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			if err := c.Err(); err != nil {
				return view, err
			}
			return api.Recovery(c.Context)
		}
	}
}

func (u *ui) recoveryShow(c *cli.Context) error {
	api, err := connect(c)
	if err != nil {
		return err
	}
	view, err := api.Recovery(c.Context)
	if err != nil {
		return err
	}
	return u.show(c, view, func() error { return u.recovery(&view) })
}

// plans say what an approval does with a class.
var plans = map[core.Class]string{
	core.ClassAdopt: "taken over as it is", core.ClassExcess: "taken in, and kept or let go like any other",
	core.ClassMissing: "replaced", core.ClassDrifted: "replaced", core.ClassUnknown: "left alone, without traffic",
	core.ClassForeign: "never touched",
}

func (u *ui) recovery(v *core.RecoveryView) error {
	if v.Restored != nil {
		say(u.out, "restored from %s\n  of %s with %d records, root %s\n", v.Restored.Snapshot, v.Restored.Previous.Origin, v.Restored.Previous.Size, v.Restored.Previous.Root)
		say(u.out, "  what was written there after record %d is missing\n", v.Restored.Previous.Size)
	}
	switch {
	case !v.Moved.IsZero():
		say(u.out, "approved by %s; traffic is where it should be since %s\n", v.By, v.Moved.Local().Format(time.DateTime))
	case !v.Approved.IsZero():
		say(u.out, "approved by %s at %s\n", v.By, v.Approved.Local().Format(time.DateTime))
	case v.Rebuild:
		say(u.out, "%s\n", u.style.Warn("approves itself when every target has said what it has"))
	default:
		say(u.out, "%s\n", u.style.Warn("waits for its approval: nothing is touched (instar recovery approve)"))
	}
	for _, class := range []core.Class{core.ClassAdopt, core.ClassExcess, core.ClassMissing, core.ClassDrifted, core.ClassUnknown, core.ClassForeign} {
		if n := v.Classes[class]; n > 0 {
			say(u.out, "  %4d %-8s %s\n", n, class, plans[class])
		}
	}
	for _, s := range v.Silent {
		say(u.out, "  %s has not said yet: %s\n", u.style.Warn("?"), s)
	}
	t := table.New("CLASS", "INSTANCE", "SERVICE", "NODE", "TARGET", "DETAIL")
	for i := range v.Findings {
		f := &v.Findings[i]
		t.Row(string(f.Class), f.Instance, f.Service, f.Node, f.Driver+"/"+f.Target, table.Clean(f.Detail))
	}
	return t.Write(u.out, u.style)
}

func (u *ui) recoveryApprove(c *cli.Context) error {
	api, err := connect(c)
	if err != nil {
		return err
	}
	view, err := api.Recovery(c.Context)
	if err != nil {
		return err
	}
	return u.approve(c, api, &view, core.ApproveRequest{Missing: c.Bool("missing"), DestroyUnknown: c.Bool("destroy-unknown")})
}

func (u *ui) approve(c *cli.Context, api *client.Client, view *core.RecoveryView, how core.ApproveRequest) error {
	if !machine(c) {
		if err := u.recovery(view); err != nil {
			return err
		}
	}
	if err := u.agreed(c, "Approve?"); err != nil {
		return err
	}
	receipt, err := api.ApproveRecovery(c.Context, client.Write{Reason: c.String("reason")}, how)
	if err != nil {
		return err
	}
	return u.show(c, receipt, func() error {
		say(u.out, "%s approved: what runs is taken over, what is missing is made; instar status\n", u.style.Good("✔"))
		return nil
	})
}
