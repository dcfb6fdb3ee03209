package docker

import (
	"math"
	"time"

	"github.com/moby/moby/api/types/container"
	"github.com/moby/moby/api/types/mount"
	"github.com/moby/moby/api/types/network"
	"github.com/moby/moby/client"

	"github.com/instarhq/instar/sdk"
)

// minCPU is the engine's least limit, in thousandths of a core.
const minCPU = 10

// plan is everything that is decided about an instance before the engine is asked to make it.
type plan struct {
	spec   sdk.InstanceSpec
	cfg    workloadConfig
	ports  map[string]int // inside the container
	mounts []file
	bind   bool // the mounts are files of this machine
	body   client.ContainerCreateOptions
}

// plan decides; it needs neither the engine nor the image.
func (t *target) plan(spec sdk.InstanceSpec) (plan, error) {
	settings, at := t.settings(), t.engine.at()
	p := plan{spec: spec, bind: at.bind}
	if err := checkID(spec.ID); err != nil {
		return p, err
	}
	err := p.cfg.read(spec.Config, settings)
	if err != nil {
		return p, err
	}
	local := at.address
	if at.files != (tlsFiles{}) {
		local = ipAddress{}.Addr
	}
	if p.ports, err = choosePorts(spec.Ports, p.cfg.first(), local); err != nil {
		return p, err
	}
	if p.mounts, err = filesOf(spec.Mounts); err != nil {
		return p, err
	}
	if len(p.mounts) > 0 && !p.bind && p.cfg.ReadOnly {
		return p, sdk.InvalidConfig("read_only", "config mounts are copied into the containers of this target, "+
			"which the engine refuses for a read-only root: leave one of them out, or set mounts of the target to bind")
	}
	if spec.Resources.CPU > 0 && spec.Resources.CPU < minCPU {
		return p, sdk.InvalidConfig("resources.cpu", "%d is under the engine's least limit, %d thousandths of a core", spec.Resources.CPU, minCPU)
	}
	err = t.describe(&p, settings, at)
	return p, err
}

// describe puts together the request for the container.
func (t *target) describe(p *plan, settings targetConfig, at endpoint) error {
	config, err := t.containerConfig(p)
	if err != nil {
		return err
	}
	host := &container.HostConfig{
		NetworkMode:    container.NetworkMode(p.cfg.first()),
		RestartPolicy:  container.RestartPolicy{Name: container.RestartPolicyDisabled},
		ReadonlyRootfs: p.cfg.ReadOnly,
		Tmpfs:          p.cfg.Tmpfs,
		CapAdd:         names(p.cfg.CapAdd),
		CapDrop:        names(p.cfg.CapDrop),
		LogConfig:      container.LogConfig{Type: settings.LogDriver, Config: settings.LogOptions},
	}
	if p.cfg.LogDriver != "" {
		host.LogConfig = container.LogConfig{Type: p.cfg.LogDriver, Config: p.cfg.LogOptions}
	}
	if p.cfg.NoNewPrivileges {
		host.SecurityOpt = []string{"no-new-privileges"}
	}
	if p.cfg.Init {
		host.Init = &p.cfg.Init
	}
	host.NanoCPUs = p.spec.Resources.CPU * 1e6
	host.Memory = p.spec.Resources.Memory
	host.MemorySwap = p.spec.Resources.Memory // a limit that swap widens is none
	if p.cfg.first() != networkHost {
		host.PortBindings = network.PortMap{}
		for _, number := range p.ports {
			host.PortBindings[tcpPort(number)] = []network.PortBinding{{HostIP: at.address, HostPort: string(settings.PortRange)}}
		}
	}
	if p.bind {
		for n, f := range p.mounts {
			host.Mounts = append(host.Mounts, mount.Mount{
				Type: mount.TypeBind, Source: t.mountFile(p.spec.ID, n), Target: f.path, ReadOnly: true,
			})
		}
	}
	p.body = client.ContainerCreateOptions{
		Name: containerName(p.spec.Cluster, p.spec.ID), Config: config, HostConfig: host,
	}
	return nil
}

func (t *target) containerConfig(p *plan) (*container.Config, error) {
	t.mu.RLock()
	node := t.node
	t.mu.RUnlock()
	config := &container.Config{
		User: p.cfg.User, WorkingDir: p.cfg.WorkingDir, StopSignal: string(p.cfg.StopSignal),
		Labels:      labelsOf(p.spec, node, p.cfg, p.ports),
		Healthcheck: &container.HealthConfig{Test: []string{"NONE"}},
	}
	var err error
	if config.Cmd, err = expand("command", p.cfg.Command, p.ports, p.spec.ID); err != nil {
		return nil, err
	}
	if config.Entrypoint, err = expand("entrypoint", p.cfg.Entrypoint, p.ports, p.spec.ID); err != nil {
		return nil, err
	}
	if config.Env, err = environment(p.spec, p.ports); err != nil {
		return nil, err
	}
	if p.spec.Grace > 0 {
		// For an engine that stops its containers because it ends, or a person who does.
		seconds := wholeSeconds(p.spec.Grace)
		config.StopTimeout = &seconds
	}
	if len(p.ports) > 0 {
		config.ExposedPorts = network.PortSet{}
		for _, number := range p.ports {
			config.ExposedPorts[tcpPort(number)] = struct{}{}
		}
	}
	return config, nil
}

// wholeSeconds rounds up, because a grace period is a promise.
func wholeSeconds(d time.Duration) int { return int(math.Ceil(d.Seconds())) }

func names(list []capability) []string {
	var out []string
	for _, name := range list {
		out = append(out, string(name))
	}
	return out
}
