package main

import (
	"bufio"
	"fmt"
	"os"
	"strings"

	"github.com/hashicorp/go-hclog"
	"github.com/urfave/cli/v2"
	"golang.org/x/term"

	"github.com/instarhq/instar/core/daemon"
	"github.com/instarhq/instar/core/daemon/nodeconfig"
)

func validate(c *cli.Context) error {
	if c.String("config") == "" {
		return usagef("say what to check: -config FILE")
	}
	file, err := nodeconfig.Load(c.String("config"))
	if err != nil {
		return err
	}
	if _, err := newLogger(file.LogLevel, false, os.Stderr); err != nil {
		return err
	}
	err = daemon.Validate(c.Context, daemon.Config{
		DataDir: file.DataDir, Node: file.Node, Cluster: file.Cluster, Labels: file.Labels, Version: version,
		PluginDirs: append(c.StringSlice("plugin-dir"), file.PluginDirs...), Socket: file.Socket, Listen: file.Listen, Metrics: file.Metrics,
		Targets: targets(file), Membership: membership(file), Logger: hclog.NewNullLogger(),
	})
	if err != nil {
		return err
	}
	_, err = fmt.Fprintf(c.App.Writer, "%s is valid: %d targets\n", c.String("config"), len(file.Targets))
	return err
}

// dataDirOf is the data directory that a command is about.
func dataDirOf(c *cli.Context) (string, error) {
	if dir := c.String("data-dir"); dir != "" {
		return dir, nil
	}
	if c.String("config") == "" {
		return "", usagef("say which data directory: -data-dir DIR or -config FILE")
	}
	file, err := nodeconfig.Load(c.String("config"))
	if err != nil {
		return "", err
	}
	return file.DataDir, nil
}

func teardown(c *cli.Context) error {
	dir, err := dataDirOf(c)
	if err != nil {
		return err
	}
	if !c.Bool("yes") {
		sure, err := confirm(fmt.Sprintf("End all instances, routes and drivers of %s? [y/N] ", dir))
		if err != nil || !sure {
			return err
		}
	}
	logger, err := newLogger("warn", false, os.Stderr)
	if err != nil {
		return err
	}
	torn, err := daemon.Teardown(c.Context, dir, logger)
	fmt.Fprintf(c.App.Writer, "ended %d instances, %d routes, %d drivers of %s\n", torn.Instances, torn.Routes, torn.Targets, dir)
	return err
}

// confirm asks at the terminal.
func confirm(question string) (bool, error) {
	if !term.IsTerminal(int(os.Stdin.Fd())) {
		return false, usagef("nobody is there to be asked: add -yes")
	}
	fmt.Fprint(os.Stderr, question)
	answer, err := bufio.NewReader(os.Stdin).ReadString('\n')
	if err != nil {
		return false, fmt.Errorf("read the answer: %w", err)
	}
	answer = strings.ToLower(strings.TrimSpace(answer))
	return answer == "y" || answer == "yes", nil
}

func lock(c *cli.Context) error {
	dir, err := dataDirOf(c)
	if err != nil {
		return err
	}
	if !c.Args().Present() {
		return usagef("say which binaries to accept")
	}
	for _, binary := range c.Args().Slice() {
		digest, err := daemon.LockDriver(dir, binary)
		if err != nil {
			return err
		}
		fmt.Fprintf(c.App.Writer, "%s %s\n", digest, binary)
	}
	return nil
}
