package main

import (
	"io"
	"os"
	"strings"

	"github.com/hashicorp/go-hclog"
	"github.com/urfave/cli/v2"

	"github.com/instarhq/instar/core/daemon"
	"github.com/instarhq/instar/core/daemon/nodeconfig"
	"github.com/instarhq/instar/core/telemetry"
)

// configure joins configuration file and flags; flags win.
func configure(c *cli.Context) (daemon.Config, error) {
	if c.Args().Present() {
		return daemon.Config{}, usagef("unknown command %q", c.Args().First())
	}
	if c.Bool("dev") == (c.String("config") != "") {
		return daemon.Config{}, usagef("give either -dev and -data-dir, or -config")
	}
	file := &nodeconfig.Config{}
	if path := c.String("config"); path != "" {
		var err error
		if file, err = nodeconfig.Load(path); err != nil {
			return daemon.Config{}, err
		}
	}
	tail := telemetry.NewLogTail(logLines, logBytes)
	logger, err := newLogger(or(flagIfSet(c, "log-level"), file.LogLevel), c.Bool("log-json") || file.LogJSON, io.MultiWriter(os.Stderr, tail))
	if err != nil {
		return daemon.Config{}, err
	}
	config := daemon.Config{
		DataDir: or(c.String("data-dir"), file.DataDir), Node: or(c.String("node"), file.Node),
		Cluster: or(c.String("cluster"), file.Cluster), Labels: file.Labels, Version: version,
		PluginDirs: append(c.StringSlice("plugin-dir"), file.PluginDirs...), AutoLock: c.Bool("dev"),
		Socket: or(c.String("socket"), file.Socket), Listen: or(c.String("api"), file.Listen),
		Metrics: or(c.String("metrics"), file.Metrics),
		Targets: targets(file), Logger: logger, LogTail: tail,
	}
	config.Membership = membership(file)
	if c.Bool("dev") {
		config.Targets = daemon.DevTargets()
	}
	return config, nil
}

func membership(file *nodeconfig.Config) *daemon.Membership {
	if file.Member == nil {
		return nil
	}
	return &daemon.Membership{
		Listen: file.Member.Listen, Advertise: file.Member.Advertise, JoinTokenFile: file.Member.JoinTokenFile,
		DeadAfter: file.Member.DeadAfter, NodeGrace: file.Member.NodeGrace,
	}
}

func targets(file *nodeconfig.Config) []daemon.Target {
	var out []daemon.Target
	for i := range file.Targets {
		t := &file.Targets[i]
		out = append(out, daemon.Target{Kind: t.Kind, Driver: t.Driver, Name: t.Name, Decode: t.Decode})
	}
	return out
}

// flagIfSet is a flag's value, without its default.
func flagIfSet(c *cli.Context, name string) string {
	if c.IsSet(name) {
		return c.String(name)
	}
	return ""
}

func or(first, second string) string {
	if first != "" {
		return first
	}
	return second
}

// How much of the log is kept for diagnostics.
const (
	logLines = 5000
	logBytes = 2 << 20
)

func newLogger(level string, json bool, output io.Writer) (hclog.Logger, error) {
	level = or(level, "info")
	parsed := hclog.LevelFromString(level)
	if parsed == hclog.NoLevel {
		return nil, usagef("log level %q: it is trace, debug, info, warn or error", level)
	}
	logger := hclog.New(&hclog.LoggerOptions{
		Name: "instard", Level: parsed, Output: output, JSONFormat: json, TimeFormat: "2006-01-02T15:04:05.000Z07:00",
		IndependentLevels: true, SubloggerHook: quieter,
	})
	return logger, nil
}

// quieter makes libraries whose every step is a message say only what is wrong, unless the level asks
// for more than usual.
func quieter(sub hclog.Logger) hclog.Logger {
	for _, library := range []string{".raft", ".plugin"} {
		if strings.HasSuffix(sub.Name(), library) && sub.GetLevel() == hclog.Info {
			sub.SetLevel(hclog.Error)
		}
	}
	return sub
}
