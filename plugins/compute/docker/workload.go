package docker

import (
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"net"
	"net/netip"
	"path"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"github.com/moby/moby/api/types/network"

	"github.com/instarhq/instar/sdk"
)

// Networks with a meaning of their own.
const (
	networkHost    = "host"
	networkNone    = "none"
	networkDefault = "default"
)

// firstPort is the first of the numbers that ports without one get inside a container. It has its own network,
// so they are the same in every container.
const firstPort = 20000

var (
	networkRE  = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9_.-]{0,127}$`)
	portNameRE = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9_-]{0,62}$`)
)

// read decodes and checks a workload configuration against what the target allows.
func (c *workloadConfig) read(config json.RawMessage, target targetConfig) error {
	if err := sdk.Decode(workloadSchema, config, c); err != nil {
		return err
	}
	if c.WorkingDir != "" && !path.IsAbs(c.WorkingDir) {
		return sdk.InvalidConfig("working_dir", "%q is not an absolute path in the container", c.WorkingDir)
	}
	for where := range c.Tmpfs {
		if !path.IsAbs(where) || path.Clean(where) != where || where == "/" {
			return sdk.InvalidConfig("tmpfs", "%q is no clean absolute path below the root", where)
		}
	}
	for name := range c.Labels {
		if name == "" || strings.HasPrefix(name, labelPrefix) {
			return sdk.InvalidConfig("labels", "%q: labels are not empty and do not begin with %s", name, labelPrefix)
		}
	}
	for n, name := range c.CapAdd {
		if !target.grants(name) {
			return sdk.InvalidConfig(fmt.Sprintf("cap_add[%d]", n), "the target does not allow %s; its allowed_capabilities says what it does", name)
		}
	}
	if c.LogDriver == "" && len(c.LogOptions) > 0 {
		return sdk.InvalidConfig("log_options", "they belong to a log_driver, and none is named")
	}
	if err := c.checkText(); err != nil {
		return err
	}
	return c.checkNetworks(target)
}

// checkText refuses what would end the text inside the engine or the kernel.
func (c *workloadConfig) checkText() error {
	for attribute, list := range map[string][]string{"command": c.Command, "entrypoint": c.Entrypoint, "user": {c.User}} {
		for _, text := range list {
			if strings.ContainsRune(text, 0) {
				return sdk.InvalidConfig(attribute, "%q has a zero byte", text)
			}
		}
	}
	if len(c.Entrypoint) > 0 && c.Entrypoint[0] == "" {
		return sdk.InvalidConfig("entrypoint", "its first element is the program, and it is empty")
	}
	return nil
}

func (c *workloadConfig) checkNetworks(target targetConfig) error {
	for n, name := range c.Networks {
		at := fmt.Sprintf("networks[%d]", n)
		switch {
		case !networkRE.MatchString(name) || name == networkDefault:
			return sdk.InvalidConfig(at, "%q is no name of a network", name)
		case !target.allows(name):
			return sdk.InvalidConfig(at, "the target does not allow network %q; its allowed_networks says what it does", name)
		case (name == networkHost || name == networkNone) && len(c.Networks) > 1:
			return sdk.InvalidConfig(at, "%q stands alone", name)
		case slices.Contains(c.Networks[:n], name):
			return sdk.InvalidConfig(at, "%q is there twice", name)
		}
	}
	return nil
}

// first is the network that ports are published from.
func (c *workloadConfig) first() string {
	if len(c.Networks) == 0 {
		return networkDefault
	}
	return c.Networks[0]
}

func tcpPort(number int) network.Port {
	port, _ := network.PortFrom(uint16(number), network.TCP) //nolint:gosec // checked by choosePorts
	return port
}

// choosePorts gives each port the number that it has inside the container.
func choosePorts(ports []sdk.Port, first string, local netip.Addr) (map[string]int, error) {
	chosen := make(map[string]int, len(ports))
	taken := map[int]string{}
	for _, p := range ports {
		attribute := "port." + p.Name
		switch _, twice := chosen[p.Name]; {
		case !portNameRE.MatchString(p.Name) || twice:
			return nil, sdk.InvalidConfig(attribute, "%q: a port's name has letters, digits, _ and -, and occurs once", p.Name)
		case p.Number < 0 || p.Number > 65535:
			return nil, sdk.InvalidConfig(attribute, "%d is no port", p.Number)
		case p.Number != 0 && taken[p.Number] != "":
			return nil, sdk.InvalidConfig(attribute, "port %q has the number %d, too", taken[p.Number], p.Number)
		case first == networkNone:
			return nil, sdk.InvalidConfig("networks", "an instance without a network has no ports, and the service declares %q", p.Name)
		}
		chosen[p.Name] = p.Number
		if p.Number != 0 {
			taken[p.Number] = p.Name
		}
	}
	next := firstPort
	for _, p := range ports {
		if p.Number != 0 {
			continue
		}
		number, err := choosePort(first, local, taken, &next)
		if err != nil {
			return nil, err
		}
		chosen[p.Name], taken[number] = number, p.Name
	}
	return chosen, nil
}

func choosePort(first string, local netip.Addr, taken map[int]string, next *int) (int, error) {
	if first != networkHost {
		for taken[*next] != "" {
			*next++
		}
		return *next, nil
	}
	// In the host's network a port has to be free there, and only a machine knows that of itself.
	if !local.IsValid() {
		return 0, sdk.InvalidConfig("networks", "in the network of another machine, every port needs a number")
	}
	listener, err := net.Listen("tcp", netip.AddrPortFrom(local, 0).String())
	if err != nil {
		return 0, sdk.Unavailable(retryAfter, "no free port on %s: %w", local, err)
	}
	number := listener.Addr().(*net.TCPAddr).Port
	return number, listener.Close()
}

// maxString is what one argument or variable has at most, with the zero byte at its end: MAX_ARG_STRLEN of Linux with pages of
// 4 KiB. Beyond it the engine starts the container, and the kernel refuses the program a moment later.
const maxString = 128 << 10

// expand replaces the placeholders in arguments.
func expand(attribute string, args []string, ports map[string]int, id string) ([]string, error) {
	var out []string
	for n, arg := range args {
		text, err := sdk.Expand(arg, ports, id)
		if err != nil {
			return nil, at(fmt.Sprintf("%s[%d]", attribute, n), err)
		}
		if len(text) >= maxString {
			return nil, sdk.InvalidConfig(fmt.Sprintf("%s[%d]", attribute, n), "%d bytes: the kernel gives a program at most %d in one argument", len(text), maxString-1)
		}
		out = append(out, text)
	}
	return out, nil
}

// at adds the attribute's path to an error of sdk.Expand, which does not know it.
func at(attribute string, err error) error {
	var typed *sdk.Error
	if errors.As(err, &typed) && typed.Attribute == "" {
		return sdk.InvalidConfig(attribute, "%s", typed.Message)
	}
	return err
}

// environment is what the service sets, and what says which instance it is.
func environment(spec sdk.InstanceSpec, ports map[string]int) ([]string, error) {
	env := make(map[string]string, len(spec.Env)+8)
	for name, value := range spec.Env {
		expanded, err := sdk.Expand(value, ports, spec.ID)
		if err != nil {
			return nil, at("env."+name, err)
		}
		if name == "" || strings.ContainsAny(name, "=\x00") || strings.ContainsRune(expanded, 0) {
			return nil, sdk.InvalidConfig("env."+name, "a name has no = in it, and neither name nor value a zero byte")
		}
		if long := len(name) + len("=") + len(expanded); long >= maxString {
			return nil, sdk.InvalidConfig("env."+name, "%d bytes with its name: the kernel gives a program at most %d in one variable", long, maxString-1)
		}
		env[name] = expanded
	}
	env["INSTAR_INSTANCE"] = spec.ID
	env["INSTAR_CLUSTER"] = spec.Cluster
	env["INSTAR_GENERATION"] = strconv.FormatUint(spec.Generation, 10)
	env["INSTAR_SERVICE"] = spec.Service
	env["INSTAR_REVISION"] = strconv.Itoa(spec.Revision)
	env["INSTAR_REVISION_DIGEST"] = spec.RevisionDigest
	for name, number := range ports {
		env["INSTAR_PORT_"+strings.ToUpper(strings.ReplaceAll(name, "-", "_"))] = strconv.Itoa(number)
	}
	list := make([]string, 0, len(env))
	for _, name := range slices.Sorted(maps.Keys(env)) {
		list = append(list, name+"="+env[name])
	}
	return list, nil
}
