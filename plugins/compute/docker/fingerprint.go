package docker

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"
)

// essence is what makes a container what it is, in a form of its own: another version of the engine or of its
// API must not make all instances look changed. A field that is added here does, so it needs omitempty and
// must be empty for every container that nobody touched.
type essence struct {
	Name       string            `json:"name"`
	Image      string            `json:"image"`
	Path       string            `json:"path"`
	Args       []string          `json:"args"`
	Env        []string          `json:"env"`
	User       string            `json:"user"`
	Dir        string            `json:"dir"`
	StopSignal string            `json:"stop_signal"`
	Labels     map[string]string `json:"labels"`
	Started    string            `json:"started"` // again by hand: another one runs in its place
	Paused     bool              `json:"paused,omitempty"`

	Network    string   `json:"network"`
	Networks   []string `json:"networks"`
	Ports      []string `json:"ports"`
	Mounts     []string `json:"mounts"`
	Tmpfs      []string `json:"tmpfs"`
	ReadOnly   bool     `json:"read_only"`
	Privileged bool     `json:"privileged"`
	CapAdd     []string `json:"cap_add"`
	CapDrop    []string `json:"cap_drop"`
	Security   []string `json:"security"`
	Log        string   `json:"log"`
	Restart    string   `json:"restart"`

	CPU      [4]int64 `json:"cpu"`
	CPUs     string   `json:"cpus"`
	Memory   [3]int64 `json:"memory"`
	Pids     int64    `json:"pids"`
	Weight   uint16   `json:"weight"`
	OOMScore int      `json:"oom_score"`

	Changes []string `json:"changes,omitempty"` // of files
}

// fingerprint digests what an instance is made of, and every way in which its files were changed since.
func (t *target) fingerprint(ctx context.Context, c found, rec record) (string, error) {
	e := essenceOf(c)
	if rec.Container == c.ID {
		changes, err := t.mountChanges(ctx, c, rec)
		if err != nil {
			return "", err
		}
		e.Changes = changes
		if rec.Copied > 0 {
			e.Changes = append(e.Changes, fmt.Sprintf("files were copied into it %d times", rec.Copied))
		}
	}
	changes, err := t.fileChanges(ctx, c, rec)
	if err != nil {
		return "", err
	}
	e.Changes = append(e.Changes, changes...)
	if len(e.Changes) > 0 {
		t.logger.Warn("an instance was changed from outside", "instance", rec.ID, "changes", strings.Join(e.Changes, "; "))
	}
	data, err := json.Marshal(e)
	if err != nil {
		return "", fmt.Errorf("encode what instance %s is made of: %w", rec.ID, err)
	}
	sum := sha256.Sum256(data)
	return "sha256:" + hex.EncodeToString(sum[:]), nil
}

func essenceOf(c found) essence {
	host := c.HostConfig
	e := essence{
		Name: strings.TrimPrefix(c.Name, "/"), Image: c.Image, Path: c.Path, Args: c.Args,
		Env: sorted(c.Config.Env), User: c.Config.User, Dir: c.Config.WorkingDir, StopSignal: c.Config.StopSignal,
		Labels: c.Config.Labels, Started: c.State.StartedAt, Paused: c.State.Paused,
		Network: string(host.NetworkMode), ReadOnly: host.ReadonlyRootfs, Privileged: host.Privileged,
		CapAdd: capabilityNames(host.CapAdd), CapDrop: capabilityNames(host.CapDrop), Security: sorted(host.SecurityOpt),
		Log: host.LogConfig.Type + pairs(host.LogConfig.Config), Restart: string(host.RestartPolicy.Name),
		CPU:    [4]int64{host.NanoCPUs, host.CPUShares, host.CPUPeriod, host.CPUQuota},
		CPUs:   host.CpusetCpus + "/" + host.CpusetMems,
		Memory: [3]int64{host.Memory, host.MemorySwap, host.MemoryReservation},
		Weight: host.BlkioWeight, OOMScore: host.OomScoreAdj,
	}
	if e.Restart == "no" {
		e.Restart = "" // the same in the words of newer engines
	}
	if host.PidsLimit != nil {
		e.Pids = max(*host.PidsLimit, 0) // no limit is null, 0 or -1
	}
	if c.NetworkSettings != nil {
		e.Networks = slices.Sorted(maps.Keys(c.NetworkSettings.Networks))
	}
	for port, bindings := range host.PortBindings {
		for _, b := range bindings {
			e.Ports = append(e.Ports, port.String()+"="+b.HostIP.String()+":"+b.HostPort)
		}
	}
	for _, m := range c.Mounts {
		e.Mounts = append(e.Mounts, fmt.Sprintf("%s %s %s %t", m.Type, m.Source, m.Destination, m.RW))
	}
	for path, options := range host.Tmpfs {
		e.Tmpfs = append(e.Tmpfs, path+" "+options)
	}
	slices.Sort(e.Ports)
	slices.Sort(e.Mounts)
	slices.Sort(e.Tmpfs)
	return e
}

func sorted(list []string) []string {
	list = slices.Clone(list)
	slices.Sort(list)
	return list
}

// capabilityNames are the same in the words of all engines.
func capabilityNames(list []string) []string {
	names := make([]string, 0, len(list))
	for _, name := range list {
		names = append(names, strings.TrimPrefix(strings.ToUpper(name), "CAP_"))
	}
	slices.Sort(names)
	return names
}

func pairs(m map[string]string) string {
	var b strings.Builder
	for _, k := range slices.Sorted(maps.Keys(m)) {
		fmt.Fprintf(&b, " %s=%s", k, m[k])
	}
	return b.String()
}

func sumOf(data []byte) string {
	sum := sha256.Sum256(data)
	return hex.EncodeToString(sum[:])
}
