package docker

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"net"
	"slices"
	"strconv"
	"sync"
	"time"

	"github.com/moby/moby/api/types/container"
	"github.com/moby/moby/client"
	"golang.org/x/sys/unix"

	"github.com/instarhq/instar/sdk"
)

// readers is how many containers are read at a time.
const readers = 16

// found is a container as the engine has it.
type found = container.InspectResponse

// inspect reads one container by its name or id, whoever made it.
func (t *target) inspect(ctx context.Context, ref string) (found, error) {
	var c found
	err := t.engine.ask(ctx, askFor, "inspect container "+ref, func(ctx context.Context, api *client.Client) error {
		result, err := api.ContainerInspect(ctx, ref, client.ContainerInspectOptions{})
		c = result.Container
		return err
	})
	if err == nil && (c.Config == nil || c.State == nil || c.HostConfig == nil) {
		return found{}, fmt.Errorf("inspect container %s: the engine's answer is not complete", ref)
	}
	return c, err
}

// find returns the container of an instance, or NotFound.
func (t *target) find(ctx context.Context, id string) (found, error) {
	missing := sdk.NotFound("there is no instance %q", id)
	if checkID(id) != nil {
		return found{}, missing
	}
	refs := t.clusters()
	for n, cluster := range refs {
		refs[n] = containerName(cluster, id)
	}
	if rec, err := t.readRecord(id); err == nil {
		// First, because it is right also when the container was renamed.
		refs = slices.Insert(refs, 0, rec.Container)
	}
	for _, ref := range refs {
		c, err := t.inspect(ctx, ref)
		switch {
		case err == nil && t.isOurs(c.ID, c.Name, c.Config.Labels) && c.Config.Labels[labelInstance] == id:
			return c, nil
		case err != nil && sdk.CodeOf(err) != sdk.CodeNotFound:
			return found{}, err
		}
	}
	return found{}, missing
}

// read is a container as an instance.
func (t *target) read(ctx context.Context, c found) (sdk.Instance, error) {
	seen := described(c.Config.Labels)
	rec, err := t.readRecord(seen.ID)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return sdk.Instance{}, err
	}
	seen.Created, _ = time.Parse(time.RFC3339Nano, c.Created) // zero if the engine says something else
	seen.State, seen.Exit = stateOf(c)
	if seen.Addresses = t.addressesOf(c); seen.Addresses == nil && rec.Container == c.ID {
		seen.Addresses = maps.Clone(rec.Addresses)
	}
	seen.Fingerprint, err = t.fingerprint(ctx, c, rec)
	return seen, err
}

// list reads all instances of a cluster.
func (t *target) list(ctx context.Context, cluster string) ([]sdk.Instance, error) {
	ids, err := t.containers(ctx, cluster)
	if err != nil {
		return nil, err
	}
	seen := make([]*sdk.Instance, len(ids))
	failed := make([]error, len(ids))
	slots := make(chan struct{}, readers)
	var group sync.WaitGroup
	for n, id := range ids {
		slots <- struct{}{}
		group.Go(func() {
			defer func() { <-slots }()
			seen[n], failed[n] = t.look(ctx, id)
		})
	}
	group.Wait()
	// A list that leaves some out would look as if they were lost.
	if err := errors.Join(failed...); err != nil {
		return nil, firstTyped(failed)
	}
	var instances []sdk.Instance
	for _, i := range seen {
		if i != nil {
			instances = append(instances, *i)
		}
	}
	return instances, nil
}

// firstTyped returns the first error: one outage makes many of the same kind.
func firstTyped(errs []error) error {
	n := slices.IndexFunc(errs, func(err error) bool { return err != nil })
	return errs[n]
}

// look reads one container as an instance; nil if it has gone meanwhile.
func (t *target) look(ctx context.Context, container string) (*sdk.Instance, error) {
	c, err := t.inspect(ctx, container)
	if sdk.CodeOf(err) == sdk.CodeNotFound {
		return nil, nil //nolint:nilnil // gone is no error here
	}
	if err != nil {
		return nil, err
	}
	i, err := t.read(ctx, c)
	if err != nil && ctx.Err() == nil {
		// While the engine removes a container, reading its files fails in many ways.
		if c, again := t.inspect(ctx, container); sdk.CodeOf(again) == sdk.CodeNotFound || again == nil && !c.State.Running {
			return nil, nil //nolint:nilnil // as above
		}
	}
	return &i, err
}

// containers returns the engine's ids of a cluster's containers.
func (t *target) containers(ctx context.Context, cluster string) ([]string, error) {
	var ids []string
	err := t.engine.ask(ctx, askFor, "list containers", func(ctx context.Context, api *client.Client) error {
		filters := client.Filters{}.Add("label", labelCluster+"="+cluster)
		list, err := api.ContainerList(ctx, client.ContainerListOptions{All: true, Filters: filters})
		for _, c := range list.Items {
			if len(c.Names) > 0 && c.Labels[labelCluster] == cluster && t.isOurs(c.ID, c.Names[0], c.Labels) {
				ids = append(ids, c.ID)
			}
		}
		return err
	})
	return ids, err
}

// neverStarted reports whether a Create has not come to its end.
func neverStarted(c found) bool {
	return c.State.Status == container.StateCreated || c.State.StartedAt == "" || startedAt(c).IsZero()
}

// startedAt is zero for a container that was never started.
func startedAt(c found) time.Time {
	at, err := time.Parse(time.RFC3339Nano, c.State.StartedAt)
	if err != nil || at.Year() < 1971 { // the engine's zero is the year 1, Podman's may be the epoch
		return time.Time{}
	}
	return at
}

func stateOf(c found) (sdk.InstanceState, *sdk.Exit) {
	switch {
	case neverStarted(c):
		return sdk.StateCreating, nil
	case c.State.Running:
		return sdk.StateRunning, nil
	}
	return sdk.StateExited, exitOf(c)
}

// exitOf says how a container ended. An engine tells a signal as 128 and its number, which any shell may also
// exit with, so it is not taken for one unless the kernel is known to have killed for memory.
func exitOf(c found) *sdk.Exit {
	at, _ := time.Parse(time.RFC3339Nano, c.State.FinishedAt) // zero if the engine does not know
	exit := &sdk.Exit{Code: c.State.ExitCode, OOM: c.State.OOMKilled, At: at}
	exit.Message = "exited with status " + strconv.Itoa(exit.Code)
	if signal := unix.SignalName(unix.Signal(exit.Code - 128)); exit.Code > 128 && signal != "" {
		exit.Message += " (" + signal + ", or a status of its own)"
	}
	if exit.OOM {
		exit.Code, exit.Signal, exit.Message = -1, "SIGKILL", "killed because it used more memory than its limit"
	}
	if started := startedAt(c); at.After(started) {
		exit.Message += " after " + at.Sub(started).Round(time.Millisecond).String()
	}
	if c.State.Error != "" {
		exit.Message += ": " + c.State.Error
	}
	return exit
}

// addressesOf reads where the ports are published; nil if the engine does not know (any more).
func (t *target) addressesOf(c found) map[string]string {
	ports := portsOf(c.Config.Labels)
	if len(ports) == 0 || c.NetworkSettings == nil {
		return nil
	}
	address := t.engine.at().address.String()
	addresses := make(map[string]string, len(ports))
	for name, number := range ports {
		if c.HostConfig.NetworkMode.IsHost() {
			addresses[name] = net.JoinHostPort(address, strconv.Itoa(number))
			continue
		}
		for _, b := range c.NetworkSettings.Ports[tcpPort(number)] {
			if host := b.HostIP; host.IsValid() && !host.IsUnspecified() {
				addresses[name] = net.JoinHostPort(host.String(), b.HostPort)
			}
		}
		if addresses[name] == "" {
			return nil
		}
	}
	return addresses
}
