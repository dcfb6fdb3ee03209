package main

import (
	"fmt"
	"path/filepath"
	"strings"

	"github.com/urfave/cli/v2"

	"github.com/instarhq/instar/cmd/instar/installed"
	"github.com/instarhq/instar/cmd/instar/table"
)

func (u *ui) driverInstallCommand() *cli.Command {
	return &cli.Command{
		Name: "install", Usage: "copy a driver's binary onto this machine and accept it", ArgsUsage: "PATH|URL",
		Description: "Checks the digest, if one is given; launches the binary once, which must say what it is; copies it into the\n" +
			"driver directory; and puts its SHA-256 into the lock file, without which instard launches nothing. Works beside\n" +
			"a running instard, which finds it within seconds, and without one. Run it as the user that instard runs as, or\n" +
			"as root.\n\n" +
			"Example:\n  instar driver install ./instar-compute-example\n" +
			"  instar driver install https://example.com/instar-compute-example_1.2.0_linux_amd64 -sha256 9f86d081…\n" +
			"  instar driver install ./instar-compute-example -upgrade",
		Flags: append([]cli.Flag{
			&cli.StringFlag{Name: "sha256", Usage: "the `DIGEST` that the binary must have; needed for an http URL"},
			&cli.BoolFlag{Name: "upgrade", Usage: "replace a different binary of the same driver; a running instard takes it into use"},
		}, machineFlags()...),
		Action: u.driverInstall,
	}
}

func (u *ui) driverInstall(c *cli.Context) error {
	from, err := one(c, "binary or URL")
	if err != nil {
		return err
	}
	m, err := localNode(c)
	if err != nil {
		return err
	}
	out, err := m.Install(c.Context, installed.Request{Source: from, SHA256: c.String("sha256"), Upgrade: c.Bool("upgrade")})
	if err != nil {
		return err
	}
	return u.show(c, out, func() error { return u.printInstallation(&out) })
}

func (u *ui) printInstallation(out *installed.Outcome) error {
	verb := "installed"
	switch {
	case out.Already:
		verb = "already installed:"
	case out.Replaced != "":
		verb = "replaced " + table.Clean(out.Replaced) + " by"
	}
	say(u.out, "%s %s driver %s, version %s, protocol %d\n", verb, out.Kind, u.style.Bold(out.Name), table.Clean(out.Version), out.Protocol)
	say(u.out, "  %s\n  %s   %s\n", out.Path, out.Digest, size(out.Size))
	if !out.Searched {
		say(u.out, "instard does not look there: add plugin_dirs = [%q] to its configuration, and restart it.\n", filepath.Dir(out.Path))
	}
	if out.Already || out.Replaced != "" {
		return nil
	}
	_, err := fmt.Fprintf(u.out, "To use it, add a target to instard's configuration and restart it, which touches neither drivers nor instances:\n"+
		"  %s %q \"NAME\" { }      # attributes: instar driver docs %s\n", out.Kind, out.Name, out.Name)
	return err
}

func (u *ui) driverListInstalled(c *cli.Context) error {
	if err := none(c); err != nil {
		return err
	}
	m, err := localNode(c)
	if err != nil {
		return err
	}
	in, err := use(c.Context, m)
	if err != nil {
		return err
	}
	drivers, err := m.List(in)
	if err != nil {
		return err
	}
	return u.show(c, drivers, func() error {
		t := table.New("DRIVER", "KIND", "VERSION", "PROTOCOL", "SHA-256", "FILE", "TARGETS", "INSTANCES", "PATH")
		for i := range drivers {
			d := &drivers[i]
			t.Row(d.Name, string(d.Kind), orDash(d.Version), number(d.Protocol), orDash(d.SHA256[:min(12, len(d.SHA256))]),
				u.fileState(d.State), strings.Join(d.Targets, " "), usedBy(d), table.Clean(d.Path))
		}
		if err := t.Write(u.out, u.style); err != nil {
			return err
		}
		if !in.Asked {
			say(u.out, "instard does not answer at %s: the targets are those of its last start\n", m.Address)
		}
		return nil
	})
}

func (u *ui) fileState(s installed.State) string {
	if s == installed.Matches {
		return u.style.Good(string(s))
	}
	return u.style.Bad(string(s))
}

func usedBy(d *installed.Driver) string {
	if !d.Asked {
		return "?"
	}
	return number(len(d.Instances))
}

func orDash(text string) string {
	if text == "" {
		return "–"
	}
	return table.Clean(text)
}

func (u *ui) driverRemoveCommand() *cli.Command {
	return &cli.Command{
		Name: "remove", Aliases: []string{"rm"}, Usage: "remove a driver that driver install has put onto this machine", ArgsUsage: "NAME",
		Description: "Removes the binary and its entry in the lock file. Refuses while a target or an instance of this node uses the\n" +
			"driver, as instard says, or as it was at its last start if it does not answer.\n\n" +
			"Example:\n  instar driver remove example\n  instar driver remove instar-compute-example -force",
		Flags:  append([]cli.Flag{&cli.BoolFlag{Name: "force", Usage: "also while it is in use: what runs goes on, and is not launched again"}}, machineFlags()...),
		Action: u.driverRemove,
	}
}

func (u *ui) driverRemove(c *cli.Context) error {
	name, err := one(c, "driver")
	if err != nil {
		return err
	}
	m, err := localNode(c)
	if err != nil {
		return err
	}
	in, err := use(c.Context, m)
	if err != nil && !c.Bool("force") {
		return err
	}
	i, err := m.Remove(name, in, c.Bool("force"))
	if err != nil {
		return err
	}
	return u.show(c, i, func() error {
		_, err := fmt.Fprintf(u.out, "removed %s driver %s, version %s: %s\n", i.Kind, i.Name, table.Clean(i.Version), i.Path)
		return err
	})
}
