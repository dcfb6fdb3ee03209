package main

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/urfave/cli/v2"

	"github.com/instarhq/instar/cmd/instar/table"
	"github.com/instarhq/instar/core"
	"github.com/instarhq/instar/core/api/client"
	"github.com/instarhq/instar/core/audit"
	"github.com/instarhq/instar/core/snapshot/container"
)

func (u *ui) snapshotCommand() *cli.Command {
	artifacts := &cli.BoolFlag{Name: "artifacts", Usage: "with what the revisions in use run, so that nothing else is needed"}
	keys := &cli.StringSliceFlag{Name: "key", Usage: "public key `TEXT` of a node that is trusted; may be repeated"}
	place := &cli.StringFlag{Name: "in", Usage: "a directory of the node, or a bucket (s3://NAME?region=…, azblob://NAME)", Required: true}
	keep := &cli.IntFlag{Name: "keep", Usage: "keep the newest `N`"}
	keepFor := &cli.DurationFlag{Name: "keep-for", Usage: "keep what is younger, as in 720h"}
	return &cli.Command{Name: "snapshot", Usage: "files from which a cluster can be rebuilt: save, restore, verify, drill, schedule …", Subcommands: []*cli.Command{
		{
			Name: "save", Usage: "make a snapshot of now", ArgsUsage: "[FILE]",
			Description: "Examples:\n  instar snapshot save before-the-move.instar\n  instar snapshot save -to s3://backups?region=eu-central-1 -artifacts",
			Flags:       []cli.Flag{&cli.StringFlag{Name: "to", Usage: "have the node save it to a directory of its own or a bucket"}, artifacts}, Action: u.snapshotSave,
		},
		{
			Name: "inspect", Usage: "what is in a snapshot file", ArgsUsage: "FILE", Description: "Example:\n  instar snapshot inspect before-the-move.instar\n\nIt reads the file's beginning; verify reads it all.",
			Flags: []cli.Flag{keys}, Action: u.snapshotInspect,
		},
		{
			Name: "verify", Usage: "check every part of a snapshot file", ArgsUsage: "FILE",
			Description: "Examples:\n  instar snapshot verify before-the-move.instar -key main/n1+…\n  instar snapshot verify s3://backups/main-g1-s2041-….instar -deep\n\n" +
				"A file of this machine is checked here, without a daemon. -deep has the node restore it into a scratch directory, which checks every record.",
			Flags: []cli.Flag{keys, &cli.BoolFlag{Name: "deep", Usage: "restore it into a scratch directory of the node"}}, Action: u.snapshotVerify,
		},
		{
			Name: "restore", Usage: "bring a cluster back from a snapshot", ArgsUsage: "FILE",
			Description: "Examples:\n  instar snapshot restore main-g1-s2041-20261123T015000Z.instar\n  instar snapshot restore s3://backups/main-g1-….instar -rebuild\n\n" +
				"On a machine whose instard waits to become a member of a cluster, this begins the cluster anew from the file. On a running\n" +
				"cluster (ask its leader) the state goes back to the file's. Either way nothing that runs is touched before the recovery is approved.",
			Flags: []cli.Flag{
				&cli.BoolFlag{Name: "rebuild", Usage: "approve as soon as every node has said what runs"},
				&cli.BoolFlag{Name: "approve", Usage: "wait for what is found, show it, and approve"},
				&cli.BoolFlag{Name: "yes", Usage: "do not ask"},
				&cli.DurationFlag{Name: "timeout", Value: 2 * time.Minute, Usage: "for how long to wait for what is found"},
				&cli.StringFlag{Name: "reason", Usage: "why; kept in the audit log"},
			},
			Action: u.snapshotRestore,
		},
		{
			Name: "list", Aliases: []string{"ls"}, Usage: "snapshots in a directory or bucket", Description: "Example:\n  instar snapshot list -in /backup",
			Flags: []cli.Flag{place, &cli.BoolFlag{Name: "all", Usage: "of other clusters, too"}}, Action: u.snapshotList,
		},
		{
			Name: "prune", Usage: "delete old snapshots of this cluster; the newest always stays", Description: "Example:\n  instar snapshot prune -in /backup -keep 14",
			Flags: []cli.Flag{place, keep, keepFor}, Action: u.snapshotPrune,
		},
		{
			Name: "drill", Usage: "restore the newest snapshot into a scratch directory, and measure", Description: "Example:\n  instar snapshot drill -in /backup",
			Flags: []cli.Flag{place, keys}, Action: u.snapshotDrill,
		},
		u.scheduleCommand(artifacts, keep, keepFor),
	}}
}

func (u *ui) snapshotSave(c *cli.Context) error {
	to := c.String("to")
	if (to == "") == (c.Args().Len() != 1) {
		return usage("say where to: a FILE here, or -to a directory of the node or a bucket")
	}
	api, err := connect(c)
	if err != nil {
		return err
	}
	if to == "" {
		return u.download(c, api, c.Args().First())
	}
	done := u.waiting("saving a snapshot to " + to)
	saved, err := api.SaveSnapshot(c.Context, client.Write{}, to, c.Bool("artifacts"))
	done()
	if err != nil {
		return err
	}
	return u.show(c, saved, func() error { return u.saved(&saved) })
}

// download saves a snapshot to a file here, and checks it as it was received.
func (u *ui) download(c *cli.Context, api *client.Client, path string) error {
	file, err := os.CreateTemp(filepath.Dir(path), ".snapshot-*")
	if err != nil {
		return fmt.Errorf("snapshot: %w", err)
	}
	defer func() { _ = os.Remove(file.Name()) }() // has another name if all went well
	done := u.waiting("saving a snapshot to " + path)
	err = api.DownloadSnapshot(c.Context, file, c.Bool("artifacts"))
	done()
	if err == nil {
		err = file.Sync()
	}
	var saved core.SnapshotSaved
	if err == nil {
		saved.File.Bytes, err = file.Seek(0, io.SeekCurrent)
	}
	if err == nil {
		_, err = file.Seek(0, io.SeekStart)
	}
	if err == nil {
		saved.Manifest, _, err = readSnapshot(file, audit.Trust{}, true)
	}
	err = errors.Join(err, file.Close())
	if err == nil {
		err = os.Rename(file.Name(), path)
	}
	if err != nil {
		return fmt.Errorf("snapshot: %w", err)
	}
	saved.File.Name, saved.File.Seq, saved.File.Time = path, saved.Manifest.Head.Size, saved.Manifest.Created
	return u.show(c, saved, func() error { return u.saved(&saved) })
}

func (u *ui) saved(s *core.SnapshotSaved) error {
	say(u.out, "%s %s   %s   %d records of %s\n", u.style.Good("✔"), s.File.Name, size(s.File.Bytes), s.Manifest.Head.Size, s.Manifest.Head.Origin)
	for _, m := range s.Manifest.Missing {
		say(u.out, "  %s artifact %s of driver %s is not in it: %s\n", u.style.Warn("!"), m.Digest, m.Driver, table.Clean(m.Reason))
	}
	return nil
}

// readSnapshot reads the manifest of a file, and with whole checks all of it.
func readSnapshot(r io.Reader, trust audit.Trust, whole bool) (core.Manifest, []string, error) {
	s, err := container.Open(r, trust)
	if err != nil {
		return core.Manifest{}, nil, err
	}
	defer s.Close()
	if whole {
		err = s.Verify()
	}
	return s.Manifest, s.SignedBy, err
}

func trustOf(c *cli.Context) (audit.Trust, error) {
	keys, err := audit.Verifiers(c.StringSlice("key")...)
	return audit.Trust{Keys: keys}, err
}

func (u *ui) snapshotInspect(c *cli.Context) error { return u.examine(c, false) }

func (u *ui) snapshotVerify(c *cli.Context) error {
	path, err := one(c, "file")
	if err != nil {
		return err
	}
	if _, err := os.Stat(path); err == nil && !c.Bool("deep") {
		return u.examine(c, true)
	}
	if abs, err := filepath.Abs(path); err == nil && !strings.Contains(path, "://") {
		path = abs
	}
	api, err := connect(c)
	if err != nil {
		return err
	}
	done := u.waiting("checking " + path)
	report, err := api.VerifySnapshot(c.Context, path, c.StringSlice("key"), c.Bool("deep"))
	done()
	if err != nil {
		return err
	}
	return u.show(c, report, func() error { return u.report(&report) })
}

// examine reads a file of this machine.
func (u *ui) examine(c *cli.Context, whole bool) error {
	path, err := one(c, "file")
	if err != nil {
		return err
	}
	trust, err := trustOf(c)
	if err != nil {
		return err
	}
	file, err := os.Open(path)
	if err != nil {
		return fmt.Errorf("snapshot: %w", err)
	}
	defer func() { _ = file.Close() }() // only read
	began := time.Now()
	manifest, signed, err := readSnapshot(file, trust, whole)
	if err != nil {
		return fmt.Errorf("%s: %w", path, err)
	}
	report := core.SnapshotReport{
		File: path, Manifest: manifest, SignedBy: signed, Records: manifest.Head.Size, Took: core.Duration(time.Since(began).Round(time.Millisecond)),
	}
	return u.show(c, report, func() error {
		if whole {
			say(u.out, "%s every part is as the manifest says\n", u.style.Good("✔"))
		}
		return u.report(&report)
	})
}

func (u *ui) report(r *core.SnapshotReport) error {
	m := &r.Manifest
	t := table.New("", "")
	t.Row("cluster", m.Cluster+" "+m.ClusterID+", generation "+fmt.Sprint(m.Generation))
	t.Row("taken", m.Created.Local().Format(time.RFC3339)+" by "+m.Node+", instard "+m.Version)
	t.Row("audit log", fmt.Sprintf("%d records, root %s", m.Head.Size, m.Head.Root))
	t.Row("state", size(m.State.Bytes))
	t.Row("artifacts", fmt.Sprintf("%d, and %d missing", len(m.Artifacts), len(m.Missing)))
	switch {
	case len(r.SignedBy) > 0:
		t.Row("signed by", strings.Join(r.SignedBy, ", "))
	default:
		t.Row("signed by", u.style.Warn("not checked: no key was given (-key)"))
	}
	if r.Restored {
		t.Row("restored", u.style.Good(fmt.Sprintf("%d services, every record verified, in %s", r.Services, r.Took)))
	}
	return t.Write(u.out, u.style)
}

func (u *ui) snapshotList(c *cli.Context) error {
	api, err := connect(c)
	if err != nil {
		return err
	}
	files, err := api.Snapshots(c.Context, c.String("in"), c.Bool("all"))
	if err != nil {
		return err
	}
	return u.show(c, files, func() error { return u.files(files) })
}

func (u *ui) files(files []core.SnapshotFile) error {
	t := table.New("TAKEN", "RECORDS", "SIZE", "NAME")
	for _, f := range files {
		t.Row(f.Time.Local().Format("2006-01-02 15:04:05"), fmt.Sprint(f.Seq), size(f.Bytes), f.Name)
	}
	return t.Write(u.out, u.style)
}

func (u *ui) snapshotPrune(c *cli.Context) error {
	api, err := connect(c)
	if err != nil {
		return err
	}
	files, err := api.PruneSnapshots(c.Context, client.Write{}, c.String("in"), c.Int("keep"), core.Duration(c.Duration("keep-for")))
	if err != nil {
		return err
	}
	return u.show(c, files, func() error {
		say(u.out, "%d deleted\n", len(files))
		return u.files(files)
	})
}

func (u *ui) snapshotDrill(c *cli.Context) error {
	api, err := connect(c)
	if err != nil {
		return err
	}
	done := u.waiting("restoring the newest snapshot in " + c.String("in") + " into a scratch directory")
	report, err := api.Drill(c.Context, c.String("in"), c.StringSlice("key"))
	done()
	if err != nil {
		return err
	}
	return u.show(c, report, func() error {
		say(u.out, "%s %s\n", u.style.Good("✔"), report.File)
		return u.report(&report)
	})
}
