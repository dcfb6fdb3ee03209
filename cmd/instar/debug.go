package main

import (
	"errors"
	"fmt"
	"os"
	"time"

	"github.com/urfave/cli/v2"
)

func (u *ui) debugCommand() *cli.Command {
	return &cli.Command{
		Name: "debug", Usage: "a node's diagnostics in a file, without secrets",
		Description: "Examples:\n  instar debug\n  instar debug -o n2.tar.gz -address unix:///run/instar/instar.sock\n\n" +
			"Versions, configuration, state, metrics, the newest log lines of instard and its drivers, what its goroutines do, a\n" +
			"heap profile, and who did what lately. Tokens, keys, the values of environments and what drivers call sensitive are\n" +
			"masked; instances' own output is left out. -o FILE is where to, - the standard output. It takes the role admin.",
		Action: u.debug,
	}
}

func (u *ui) debug(c *cli.Context) (err error) {
	if err := none(c); err != nil {
		return err
	}
	name := flag(c, "o")
	switch name {
	case "table": // the default of other commands
		name = "instar-debug-" + time.Now().UTC().Format("20060102T150405Z") + ".tar.gz"
	case "json", "yaml":
		return usage("a bundle is a gzipped tar, not %s", name).withHint("-o FILE.tar.gz says where to")
	}
	api, err := connect(c)
	if err != nil {
		return err
	}
	if name == "-" {
		return api.Debug(c.Context, u.out)
	}
	file, err := os.OpenFile(name, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return fmt.Errorf("diagnostics: %w", err)
	}
	if err := errors.Join(api.Debug(c.Context, file), file.Close()); err != nil {
		return errors.Join(err, os.Remove(name)) // half a bundle helps nobody
	}
	info, err := os.Stat(name)
	if err != nil {
		return fmt.Errorf("diagnostics: %w", err)
	}
	say(u.out, "%s %s, %s\n  secrets that instar knows of are masked; look through it before you give it away\n", u.style.Good("✔"), name, size(info.Size()))
	return nil
}
