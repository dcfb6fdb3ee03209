package daemon

import (
	"encoding/json"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/hashicorp/go-hclog"

	"github.com/instarhq/instar/core"
	"github.com/instarhq/instar/core/driverhost/lockfile"
	"github.com/instarhq/instar/core/telemetry"
)

// Config says what a node is. DataDir is needed; everything else has a default.
type Config struct {
	DataDir    string            // made with mode 0700 if it does not exist
	Node       string            // default: the host's name
	Cluster    string            // name of a new cluster; default "dev"
	Labels     map[string]string // published for placement
	Version    string            // of instard
	PluginDirs []string          // searched before DataDir/plugins and the directory of the own binary
	AutoLock   bool              // accept driver binaries at first sight
	Socket     string            // of the API; default DataDir/instar.sock
	Listen     string            // of the API over TCP, loopback only; empty: none
	Metrics    string            // where Prometheus is answered without credentials; empty: nowhere
	Targets    []Target
	Membership *Membership // of a cluster of several nodes; nil: this node is one of its own
	Logger     hclog.Logger
	LogTail    *telemetry.LogTail // the newest of what Logger has written, for diagnostics; nil: none

	bundled string // the directory of the own binary; empty: not known
}

// Membership says how a node takes part in a cluster of several. Listen is needed.
type Membership struct {
	Listen        string        // cluster address, where other members speak
	Advertise     string        // where they reach it; default: Listen, if that says it
	JoinTokenFile string        // join with the token in this file, once
	DeadAfter     time.Duration // of a cluster that begins here; 0: never
	NodeGrace     time.Duration // of a cluster that begins here; default 30s

	Every, Stable time.Duration // of core/cluster; 0: the defaults
	Heartbeat     time.Duration // of raftstore; 0: the default
	Level         int           // of core/cluster; 0: core.Level
}

// Target is one driver to run, with its configuration.
type Target struct {
	Kind   core.DriverKind
	Driver string
	Name   string
	// Decode gives the configuration as JSON. The driver's schema is not known if the driver is not there
	// now; the configuration is then given as it is, and the driver checks it when it comes. nil: none.
	Decode func(schema []core.Attribute, known bool) (json.RawMessage, error)
}

// DevTargets are the targets of -dev: one of each embedded driver.
func DevTargets() []Target {
	return []Target{
		{Kind: core.DriverCompute, Driver: "process", Name: "local"},
		{Kind: core.DriverTraffic, Driver: "proxy", Name: "local"},
	}
}

// level is the newest level of stored formats that this instard reads.
func (c *Config) level() int {
	if c.Membership != nil && c.Membership.Level != 0 {
		return c.Membership.Level
	}
	return core.Level
}

// complete fills in defaults and refuses what cannot work.
func (c *Config) complete() error {
	if c.DataDir == "" {
		return core.Errorf(core.CodeInvalid, "no data directory was given").
			WithHint("say where with -data-dir, or with data_dir in the configuration")
	}
	dir, err := filepath.Abs(c.DataDir)
	if err != nil {
		return fmt.Errorf("data directory: %w", err)
	}
	c.DataDir = dir
	if c.Socket == "" {
		c.Socket = filepath.Join(dir, "instar.sock")
	}
	if c.Node == "" {
		if c.Node, err = hostName(); err != nil {
			return err
		}
	}
	if err := core.CheckName("node", c.Node); err != nil {
		return err
	}
	if c.Logger == nil {
		c.Logger = hclog.NewNullLogger()
	}
	c.PluginDirs = append(slices.Clone(c.PluginDirs), filepath.Join(dir, lockfile.PluginDir))
	if c.bundled = ownDir(); c.bundled != "" {
		c.PluginDirs = append(c.PluginDirs, c.bundled)
	}
	if c.Metrics != "" {
		if _, _, err := net.SplitHostPort(c.Metrics); err != nil {
			return core.Errorf(core.CodeInvalid, "metrics address %q: %w", c.Metrics, err).WithHint("write host:port, as in 127.0.0.1:9290")
		}
	}
	if c.Membership != nil {
		return c.Membership.complete()
	}
	return checkListen(c.Listen)
}

func (m *Membership) complete() error {
	host, _, err := net.SplitHostPort(m.Listen)
	if err != nil {
		return core.Errorf(core.CodeInvalid, "cluster address %q: %w", m.Listen, err).WithHint("write host:port, as in 10.0.0.1:%d", ClusterPort)
	}
	if m.Advertise == "" && (host == "" || net.ParseIP(host).IsUnspecified()) {
		return core.Errorf(core.CodeInvalid, "cluster address %q does not say where other machines reach this one", m.Listen).
			WithHint("add advertise = \"10.0.0.1:%d\" to the cluster block, or listen on one address", ClusterPort)
	}
	if m.Advertise != "" {
		if host, port, err := net.SplitHostPort(m.Advertise); err != nil || host == "" || port == "" || net.ParseIP(host).IsUnspecified() {
			return core.Errorf(core.CodeInvalid, "cluster address %q, to be reached by: it is no host:port", m.Advertise)
		}
	}
	return nil
}

// ClusterPort is where members speak unless it is said otherwise.
const ClusterPort = 4748

// ownDir is the directory of the running binary, symbolic links resolved.
func ownDir() string {
	own, err := os.Executable()
	if err != nil {
		return ""
	}
	if own, err = filepath.EvalSymlinks(own); err != nil {
		return ""
	}
	return filepath.Dir(own)
}

// hostName makes a node's name of the host's.
func hostName() (string, error) {
	host, err := os.Hostname()
	if err != nil {
		return "", fmt.Errorf("name of the node: %w", err)
	}
	name, _, _ := strings.Cut(strings.ToLower(host), ".")
	if core.CheckName("node", name) != nil {
		return "", core.Errorf(core.CodeInvalid, "the host's name %q cannot be a node's name", host).
			WithHint("give the node a name: -node n1, or node { name = \"n1\" } in the configuration")
	}
	return name, nil
}

// checkListen refuses an address that other machines could reach.
func checkListen(address string) error {
	if address == "" {
		return nil
	}
	host, _, err := net.SplitHostPort(address)
	if err != nil {
		return core.Errorf(core.CodeInvalid, "API address %q: %w", address, err).WithHint("write host:port, as in 127.0.0.1:4747")
	}
	if ip := net.ParseIP(host); (ip != nil && ip.IsLoopback()) || host == "localhost" {
		return nil
	}
	return core.Errorf(core.CodeInvalid, "API address %q: a node without a cluster has no certificate, so its API only listens on loopback addresses", address).
		WithHint("use 127.0.0.1:4747; or add a cluster block, which one node may have as well, and run instar cluster init")
}
