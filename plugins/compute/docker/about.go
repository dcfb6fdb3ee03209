package docker

import (
	"context"
	"strconv"
	"strings"

	"github.com/moby/moby/api/types/system"
	"github.com/moby/moby/client"

	"github.com/instarhq/instar/sdk"
)

// about is what an engine says of itself; the zero about is of one that was never asked. It takes an engine several
// processes to say it, so it is asked by who wants to know.
type about struct {
	known      bool // since the engine was reached anew; what it said before is not forgotten
	podman     bool
	selinux    bool
	attributes map[string]string
	capacity   sdk.Resources
}

// learn asks the engine what it is.
func (t *target) learn(ctx context.Context) error {
	var info system.Info
	version, err := t.version(ctx)
	if err != nil {
		return err
	}
	var negotiated string
	err = t.engine.ask(ctx, askFor, "ask for the system", func(ctx context.Context, api *client.Client) error {
		result, err := api.Info(ctx, client.InfoOptions{})
		info, negotiated = result.Info, api.ClientVersion()
		return err
	})
	if err != nil {
		return err
	}
	a := about{known: true, podman: servedByPodman(version), capacity: sdk.Resources{CPU: int64(info.NCPU) * 1000, Memory: info.MemTotal}}
	name := "Docker"
	if a.podman {
		name = "Podman"
	}
	for _, option := range info.SecurityOptions {
		a.selinux = a.selinux || strings.HasPrefix(option, "name=selinux")
	}
	a.attributes = map[string]string{
		"engine": name + " " + version.Version, "api": negotiated, "kernel": info.KernelVersion, "storage": info.Driver,
		"cgroup": info.CgroupVersion, "os": info.OperatingSystem, "logging": info.LoggingDriver,
	}
	if !a.podman { // which has no daemon that containers could depend on
		a.attributes["live_restore"] = strconv.FormatBool(info.LiveRestoreEnabled)
	}
	t.mu.Lock()
	t.about = a
	t.mu.Unlock()
	return nil
}

// reached notes that the engine was reached anew: it may be another one.
func (t *target) reached() {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.about.known = false
}

func (t *target) said() about {
	t.mu.RLock()
	defer t.mu.RUnlock()
	return t.about
}

// version is what the engine says of its parts.
func (t *target) version(ctx context.Context) (client.ServerVersionResult, error) {
	var version client.ServerVersionResult
	err := t.engine.ask(ctx, askFor, "ask for the version", func(ctx context.Context, api *client.Client) (err error) {
		version, err = api.ServerVersion(ctx, client.ServerVersionOptions{})
		return err
	})
	return version, err
}

func servedByPodman(version client.ServerVersionResult) bool {
	for _, c := range version.Components {
		if strings.HasPrefix(c.Name, "Podman") {
			return true
		}
	}
	return false
}

// isPodman asks if it is not known.
func (t *target) isPodman(ctx context.Context) (bool, error) {
	if a := t.said(); a.known {
		return a.podman, nil
	}
	version, err := t.version(ctx)
	return servedByPodman(version), err
}
