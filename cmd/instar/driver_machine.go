package main

import (
	"context"
	"errors"
	"os"
	"path/filepath"

	"github.com/urfave/cli/v2"

	"github.com/instarhq/instar/cmd/instar/installed"
	"github.com/instarhq/instar/core"
	"github.com/instarhq/instar/core/api/client"
	"github.com/instarhq/instar/core/daemon/nodeconfig"
)

// defaultConfig is where packages put instard's configuration.
const defaultConfig = "/etc/instar/instard.hcl"

// machineFlags say which node of this machine is meant.
func machineFlags() []cli.Flag {
	return []cli.Flag{
		&cli.StringFlag{Name: "config", Usage: "instard's configuration `FILE`, or a directory of *.hcl files (default: " + defaultConfig + ", if there is no -data-dir)"},
		&cli.StringFlag{Name: "data-dir", Usage: "instard's data directory `DIR`"},
		&cli.StringFlag{Name: "dir", Usage: "the driver directory `DIR` (default: the first of the configuration's plugin_dirs, or plugins in the data directory)"},
	}
}

// localNode is the node of this machine that the flags, or the usual configuration, mean.
func localNode(c *cli.Context) (installed.Machine, error) {
	m := installed.Machine{DataDir: c.String("data-dir"), Dir: c.String("dir")}
	path := c.String("config")
	if path == "" && m.DataDir == "" {
		if _, err := os.Stat(defaultConfig); err != nil {
			return m, usage("say where instard keeps its data").withHint("-config FILE, as instard has it, or -data-dir DIR")
		}
		path = defaultConfig
	}
	if path != "" {
		config, err := nodeconfig.Load(path)
		if err != nil {
			return m, err
		}
		m.Plugins, m.Address = config.PluginDirs, config.Socket
		if m.DataDir == "" {
			m.DataDir = config.DataDir
		}
	}
	if m.DataDir == "" {
		return m, usage("%s has no data_dir", path).withHint("-data-dir DIR, as instard is given it")
	}
	var err error
	if m.DataDir, err = filepath.Abs(m.DataDir); err != nil {
		return m, err
	}
	if m.Address == "" {
		m.Address = filepath.Join(m.DataDir, "instar.sock")
	}
	m.Address = "unix://" + m.Address
	if address := flag(c, "address"); address != "" {
		m.Address = address
	}
	return m, nil
}

// use asks the node's daemon what of its drivers is in use. A daemon that does not answer is no error: its targets
// are known from its last start.
func use(ctx context.Context, m installed.Machine) (installed.Use, error) {
	u, err := m.Recorded()
	if err != nil {
		return u, err
	}
	api, err := client.Open(client.Options{Address: m.Address})
	if err != nil {
		return u, err
	}
	defer api.Close()
	health, err := api.Health(ctx)
	if errors.Is(err, client.ErrUnreachable) {
		return u, nil
	}
	if err != nil {
		return u, err
	}
	if health.Waiting != "" {
		return u, nil // it is no member yet, and knows nothing
	}
	if u.Node != "" && health.Node != u.Node {
		return u, core.Errorf(core.CodeInvalid, "%s is node %s, and the data directory %s is that of node %s", m.Address, health.Node, m.DataDir, u.Node)
	}
	drivers, err := fetchDrivers(ctx, api)
	if err != nil {
		return u, err
	}
	instances, err := pages(func(l client.List) (core.Page[core.InstanceView], error) { return api.Instances(ctx, l) })
	if err != nil {
		return u, err
	}
	var own []core.Instance
	for i := range instances {
		own = append(own, instances[i].Instance)
	}
	return u.Of(health.Node, drivers, own), nil
}
