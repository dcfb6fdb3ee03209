package main

import (
	"errors"
	"fmt"
	"os"

	"github.com/urfave/cli/v2"
	"golang.org/x/term"

	"github.com/instarhq/instar/core"
	"github.com/instarhq/instar/core/daemon/nodeconfig"
)

func newApp() *cli.App {
	return &cli.App{
		Name:  "instard",
		Usage: "the daemon of instar, which replaces running infrastructure instead of changing it",
		UsageText: "instard -dev -data-dir DIR\n" +
			"instard -config /etc/instar/instard.hcl\n" +
			"instard COMMAND",
		Description: "Stopping it (SIGTERM, SIGINT), and its death, leave drivers and instances running; the next start\n" +
			"on the same data directory takes them over. `instard teardown` ends them.",
		Version: version, HideVersion: true, HideHelpCommand: true,
		Flags:  daemonFlags(),
		Action: runDaemon,
		Commands: []*cli.Command{
			{
				Name: "validate", Usage: "check a configuration and say what is wrong, with file and line",
				UsageText: "instard validate -config /etc/instar/instard.hcl",
				Flags:     []cli.Flag{configFlag(), pluginDirFlag()},
				Action:    validate,
			},
			{
				Name: "teardown", Usage: "end all instances, routes and drivers of a data directory",
				UsageText: "instard teardown -data-dir DIR -yes",
				Description: "No instard may run on the directory. The store is neither read nor changed: a later start on the\n" +
					"same directory makes everything anew.",
				Flags:  []cli.Flag{configFlag(), dataDirFlag(), &cli.BoolFlag{Name: "yes", Usage: "do not ask"}},
				Action: teardown,
			},
			{
				Name: "lock", Usage: "accept driver binaries that did not come with instard, as they are now",
				UsageText: "instard lock -data-dir DIR /usr/local/lib/instar/instar-compute-example",
				ArgsUsage: "BINARY...",
				Flags:     []cli.Flag{configFlag(), dataDirFlag()},
				Action:    lock,
			},
			restoreCommand(), clusterCommand(),
			{
				Name: "version", Usage: "print the version",
				Action: func(c *cli.Context) error {
					_, err := fmt.Fprintln(c.App.Writer, "instard", version)
					return err
				},
			},
		},
		ExitErrHandler: func(*cli.Context, error) {}, // main prints
		OnUsageError:   func(_ *cli.Context, err error, _ bool) error { return usageError{err} },
	}
}

func configFlag() cli.Flag {
	return &cli.StringFlag{Name: "config", Usage: "configuration `FILE`, or a directory of *.hcl files"}
}

func dataDirFlag() cli.Flag {
	return &cli.StringFlag{Name: "data-dir", Usage: "everything that the node keeps is in `DIR`"}
}

func pluginDirFlag() cli.Flag {
	return &cli.StringSliceFlag{Name: "plugin-dir", Usage: "look for drivers in `DIR`, before the directory of instard itself; may be repeated"}
}

func daemonFlags() []cli.Flag {
	return []cli.Flag{
		&cli.BoolFlag{Name: "dev", Usage: "no configuration: one target of each embedded driver, new drivers are trusted"},
		configFlag(), dataDirFlag(), pluginDirFlag(),
		&cli.StringFlag{Name: "api", Usage: "serve the API on `HOST:PORT`, too; loopback only, because nobody is asked for a name there"},
		&cli.StringFlag{Name: "socket", Usage: "serve the API on the unix socket `PATH`; default DIR/instar.sock"},
		&cli.StringFlag{Name: "metrics", Usage: "answer Prometheus on `HOST:PORT` without asking for credentials, as in 127.0.0.1:9290"},
		&cli.StringFlag{Name: "node", Usage: "this node's `NAME`; default: the host's"},
		&cli.StringFlag{Name: "cluster", Usage: "the `NAME` of a new cluster; default dev"},
		&cli.StringFlag{Name: "log-level", Usage: "trace, debug, info, warn or error", Value: "info"},
		&cli.BoolFlag{Name: "log-json", Usage: "log lines as JSON"},
	}
}

// usageError is an error of the command line.
type usageError struct{ error }

func (e usageError) Unwrap() error { return e.error }

func usagef(format string, args ...any) error { return usageError{fmt.Errorf(format, args...)} }

// exitCode prints an error for a person and gives the process's exit status.
func exitCode(err error) int {
	if err == nil {
		return 0
	}
	var usage usageError
	var diagnostics *nodeconfig.Error
	switch {
	case errors.As(err, &diagnostics):
		width, _, _ := term.GetSize(int(os.Stderr.Fd())) // 0 if it is no terminal
		_ = diagnostics.Print(os.Stderr, term.IsTerminal(int(os.Stderr.Fd())) && os.Getenv("NO_COLOR") == "", width)
		return 1
	case errors.As(err, &usage):
		fmt.Fprintf(os.Stderr, "instard: %v\n  more: instard -h\n", err)
		return 2
	}
	fmt.Fprintf(os.Stderr, "instard: %v\n", err)
	if e, ok := core.AsError(err); ok && e.Hint != "" {
		fmt.Fprintf(os.Stderr, "  %s\n", e.Hint)
	}
	return 1
}
