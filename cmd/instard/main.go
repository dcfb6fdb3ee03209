// Command instard is instar's daemon: one node of a cluster.
package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"syscall"

	"github.com/urfave/cli/v2"

	"github.com/instarhq/instar/core/daemon"
)

// version is stamped by the build.
var version = "dev"

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	err := newApp().RunContext(ctx, os.Args)
	stop()
	os.Exit(exitCode(err))
}

// runDaemon is a daemon's life, or several: a restore replaces everything that it stands on.
func runDaemon(c *cli.Context) error {
	config, err := configure(c)
	if err != nil {
		return err
	}
	for {
		err := live(c, config)
		switch {
		case errors.Is(err, daemon.ErrRestored):
			config.Logger.Info("starting anew: " + err.Error())
		case errors.Is(err, daemon.ErrLeft):
			config.Logger.Info(err.Error())
			return nil
		default:
			return err
		}
	}
}

// live runs a daemon until it is told to stop, or fails.
func live(c *cli.Context, config daemon.Config) error {
	d, err := daemon.New(config)
	if err != nil {
		return err
	}
	if err := d.Start(c.Context); err != nil {
		if c.Err() != nil {
			config.Logger.Info("stopped before it was ready")
			return nil //nolint:nilerr // it was told to
		}
		return err
	}
	greet(d, c.Bool("dev"))
	signalled := context.AfterFunc(c.Context, func() {
		config.Logger.Info("stopping; drivers and instances go on. To end them, too: instard teardown -data-dir " + config.DataDir)
		_ = d.Close() // its error comes back below
	})
	failure := d.Wait()
	signalled()
	closed := d.Close()
	if failure == nil && closed == nil {
		config.Logger.Info("stopped")
	}
	return errors.Join(failure, closed)
}

// greet says where the API is, and in -dev what to type next.
func greet(d *daemon.Daemon, dev bool) {
	fmt.Fprintf(os.Stderr, "instard %s is ready on unix://%s\n", version, d.Socket())
	if address := d.Address(); address != nil {
		if d.Member() {
			fmt.Fprintf(os.Stderr, "          and on https://%s\n", address)
		} else {
			fmt.Fprintf(os.Stderr, "          and on http://%s, for every user of this machine\n", address)
		}
	}
	if dev {
		fmt.Fprintf(os.Stderr, "try:      export INSTAR_ADDR=unix://%s\n          instar status\n          instar apply FILE.hcl\n", d.Socket())
	}
}
