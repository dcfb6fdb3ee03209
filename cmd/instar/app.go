package main

import (
	"context"
	"io"
	"os"
	"strings"

	"github.com/urfave/cli/v2"
	"golang.org/x/term"

	"github.com/instarhq/instar/cmd/instar/table"
)

// ui is where a command reads and writes, and what the person's terminal can do.
type ui struct {
	in       io.Reader
	out, err io.Writer
	style    table.Style // of out
	terminal bool        // out is a terminal: live progress, prompts
	prompts  bool        // in is a terminal as well
}

// run is main without the process: it returns the exit code.
func run(ctx context.Context, args []string, in io.Reader, out, errOut io.Writer) int {
	u := newUI(in, out, errOut)
	app := newApp(u)
	err := app.RunContext(ctx, flagsFirst(app, args))
	return report(errOut, err, table.Style{Color: isTerminal(errOut) && wantsColor()})
}

func newUI(in io.Reader, out, errOut io.Writer) *ui {
	u := &ui{in: in, out: out, err: errOut, terminal: isTerminal(out)}
	u.style.Color = u.terminal && wantsColor()
	if f, ok := in.(*os.File); ok {
		u.prompts = u.terminal && term.IsTerminal(int(f.Fd()))
	}
	return u
}

// wantsColor honours no-color.org and terminals that cannot paint.
func wantsColor() bool { return os.Getenv("NO_COLOR") == "" && os.Getenv("TERM") != "dumb" }

func isTerminal(w io.Writer) bool {
	f, ok := w.(*os.File)
	return ok && term.IsTerminal(int(f.Fd()))
}

func newApp(u *ui) *cli.App {
	app := &cli.App{
		Name:  "instar",
		Usage: "replace infrastructure instead of changing it",
		Description: "instar speaks to an instard and does what you ask: declare services, watch their rollouts,\n" +
			"go back, look at the audit log. Start with: instar status",
		Version: version, HideVersion: true,
		Reader: u.in, Writer: u.out, ErrWriter: u.err,
		EnableBashCompletion: true, Suggest: true,
		Flags: globalFlags(),
		Commands: []*cli.Command{
			u.applyCommand(), u.planCommand(), u.validateCommand(), u.statusCommand(), u.rollbackCommand(), u.logsCommand(),
			u.serviceCommand(), u.revisionCommand(), u.rolloutCommand(), u.instanceCommand(), u.routeCommand(),
			u.nodeCommand(), u.clusterCommand(), u.driverCommand(), u.auditCommand(), u.snapshotCommand(), u.recoveryCommand(), u.checkpointCommand(),
			u.loginCommand(), u.contextCommand(), u.whoamiCommand(), u.tokenCommand(), u.eventsCommand(), u.debugCommand(), u.completionCommand(), u.versionCommand(),
		},
		Action: func(c *cli.Context) error {
			if c.Args().Present() {
				return usage("there is no command %q", c.Args().First()).withHint("instar -h lists them")
			}
			return cli.ShowAppHelp(c)
		},
		OnUsageError:   badUsage,
		ExitErrHandler: func(*cli.Context, error) {}, // run reports
	}
	inherit(app.Commands)
	return app
}

// globalFlags are understood by every command, before or after its name.
func globalFlags() []cli.Flag {
	return []cli.Flag{
		&cli.StringFlag{Name: "address", Usage: "where instard is: unix:///PATH or https://HOST:PORT (default: $INSTAR_ADDR, the context in use, the usual places)"},
		&cli.StringFlag{Name: "context", Usage: "a cluster that you have logged in to, by the `NAME` of its context"},
		&cli.StringFlag{Name: "o", Aliases: []string{"output"}, Usage: "table, json or yaml", Value: "table"},
	}
}

// inherit gives the global flags, error handling and an example to every command.
func inherit(commands []*cli.Command) {
	for _, c := range commands {
		c.OnUsageError = badUsage
		c.HideHelpCommand = true
		if len(c.Subcommands) > 0 {
			group := c
			c.Action = func(ctx *cli.Context) error {
				if ctx.Args().Present() {
					return usage("%s has no command %q", group.Name, ctx.Args().First()).withHint("instar %s -h lists them", group.Name)
				}
				return cli.ShowSubcommandHelp(ctx)
			}
			inherit(c.Subcommands)
			continue
		}
		c.Flags = append(c.Flags, globalFlags()...)
	}
}

func badUsage(_ *cli.Context, err error, _ bool) error {
	return usage("%s", strings.TrimPrefix(err.Error(), "flag ")).withHint("-h shows the flags, and an example")
}

// flag reads a string flag wherever it was given on the command line.
func flag(c *cli.Context, name string) string {
	for _, level := range c.Lineage() {
		if level.Command != nil && level.IsSet(name) {
			return level.String(name)
		}
	}
	return c.String(name)
}

// one returns the single positional argument.
func one(c *cli.Context, what string) (string, error) {
	if c.NArg() != 1 {
		return "", usage("say which %s: one argument, not %d", what, c.NArg()).withHint("%s -h shows an example", c.Command.HelpName)
	}
	return c.Args().First(), nil
}

// none refuses positional arguments.
func none(c *cli.Context) error {
	if c.Args().Present() {
		return usage("%q is one argument too many", c.Args().First())
	}
	return nil
}
