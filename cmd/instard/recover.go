package main

import (
	"fmt"
	"os"
	"os/user"
	"strings"

	"github.com/urfave/cli/v2"

	"github.com/instarhq/instar/core"
	"github.com/instarhq/instar/core/daemon"
)

func clusterCommand() *cli.Command {
	return &cli.Command{
		Name: "cluster", Usage: "what a cluster needs when its daemons are down",
		Subcommands: []*cli.Command{{
			Name: "recover", Usage: "make this node the only voter of a cluster that has lost most of its voters for good",
			UsageText: "instard cluster recover -config /etc/instar/instard.hcl -reason \"n2 and n3 burnt down\"",
			Description: "Stop instard on every node that is left, and run this on the one that is furthest (see docs/cluster.md). What\n" +
				"the lost voters alone had is gone. The log goes on under a new generation; every other node gets an empty data\n" +
				"directory and joins again.",
			Flags: []cli.Flag{
				configFlag(), dataDirFlag(), &cli.BoolFlag{Name: "yes", Usage: "do not ask"},
				&cli.StringFlag{Name: "reason", Usage: "why; kept in the audit log"},
			},
			Action: recoverCluster,
		}},
	}
}

func recoverCluster(c *cli.Context) error {
	dir, err := dataDirOf(c)
	if err != nil {
		return err
	}
	if !c.Bool("yes") {
		sure, err := confirm("The other voters of this cluster can never come back with what they have. Go on? [y/N] ")
		if err != nil || !sure {
			return err
		}
	}
	logger, err := newLogger("warn", false, os.Stderr)
	if err != nil {
		return err
	}
	principal := "local:unknown"
	if u, err := user.Current(); err == nil {
		principal = "local:" + u.Username
	}
	r, err := daemon.Recover(c.Context, dir, core.Meta{Principal: principal, Reason: c.String("reason")}, logger)
	if err != nil {
		return err
	}
	w := c.App.Writer
	fmt.Fprintf(w, "node %s is the only voter now; the log goes on as %s from record %d\n", r.Node, r.Receipt.Origin, r.Receipt.Seq)
	fmt.Fprintf(w, "before: %s, %d records, root %s\n", r.Previous.Origin, r.Previous.Size, r.Previous.Root)
	if r.Uncertain > 0 {
		fmt.Fprintf(w, "%d entries at the end of the log were kept of which it is not known whether they had been acknowledged\n", r.Uncertain)
	}
	if len(r.Former) > 0 {
		fmt.Fprintf(w, "no members any more: %s. Each gets an empty data directory and joins again\n", strings.Join(r.Former, " "))
	}
	fmt.Fprintf(w, "next: start instard here, then: instar cluster token create\n")
	return nil
}
