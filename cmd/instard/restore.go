package main

import (
	"fmt"
	"os/user"

	"github.com/urfave/cli/v2"

	"github.com/instarhq/instar/core"
	"github.com/instarhq/instar/core/daemon"
)

func restoreCommand() *cli.Command {
	return &cli.Command{
		Name: "restore", Usage: "begin anew from a snapshot at the next start, with an empty data directory",
		UsageText: "instard restore -data-dir DIR FILE\ninstard restore -config /etc/instar/instard.hcl s3://backups/main-g1-s2041-20261123T015000Z.instar",
		Description: "The file is checked whole and kept in the data directory; the next start of instard restores it. What runs on the\n" +
			"machine is found and taken over, and nothing is touched before `instar recovery approve`, or -rebuild.\n" +
			"A member of a cluster of several whose instard runs and waits is told with `instar snapshot restore`.",
		ArgsUsage: "FILE",
		Flags: []cli.Flag{
			configFlag(), dataDirFlag(),
			&cli.BoolFlag{Name: "rebuild", Usage: "approve as soon as every node has said what runs"},
			&cli.StringFlag{Name: "reason", Usage: "why; kept in the audit log"},
		},
		Action: restore,
	}
}

func restore(c *cli.Context) error {
	dir, err := dataDirOf(c)
	if err != nil {
		return err
	}
	if c.Args().Len() != 1 {
		return usagef("say which snapshot to restore: a file, or its address in a bucket")
	}
	principal := "local"
	if u, err := user.Current(); err == nil {
		principal = "local:" + u.Username
	}
	manifest, err := daemon.Stage(c.Context, dir, c.Args().First(), core.Meta{Principal: principal, Reason: c.String("reason")}, c.Bool("rebuild"))
	if err != nil {
		return err
	}
	_, err = fmt.Fprintf(c.App.Writer, "cluster %s with %d records, taken %s, is ready: the next start of instard restores it\n",
		manifest.Cluster, manifest.Head.Size, manifest.Created.Local().Format("2006-01-02 15:04:05"))
	return err
}
