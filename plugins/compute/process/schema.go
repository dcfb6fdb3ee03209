package process

import (
	"encoding"
	"fmt"
	"net/netip"
	"strconv"
	"strings"
	"syscall"

	"github.com/zclconf/go-cty/cty"
	"golang.org/x/sys/unix"

	"github.com/instarhq/instar/plugins/compute/process/port"
	"github.com/instarhq/instar/sdk"
)

const (
	defaultPorts = "20000-29999"
	// defaultUIDs is above the ranges that systemd, shadow's subordinate ids and directory services use
	// (https://systemd.io/UIDS-GIDS/), and below the largest number that is safe to take.
	defaultUIDs       = "2030043136-2030108671"
	defaultLogBytes   = 16 << 20
	minLogBytes       = 64 << 10
	defaultMaxBytes   = 4 << 30
	defaultMaxEntries = 200_000
)

var targetSchema = sdk.Schema{
	{
		Name: "address", Type: cty.String, Default: cty.StringVal("127.0.0.1"),
		Doc: "IP address of this node at which traffic and health checks reach the instances' ports.",
	},
	{
		Name: "port_range", Type: cty.String, Default: cty.StringVal(defaultPorts),
		Doc: "Numbers that ports without one are chosen from; it should not overlap net.ipv4.ip_local_port_range.",
	},
	{
		Name: "user", Type: cty.String,
		Doc: "User that instances run as when the driver is root; without it each instance gets a user id of its own from uid_range.",
	},
	{
		Name: "uid_range", Type: cty.String, Default: cty.StringVal(defaultUIDs),
		Doc: "User and group ids for instances, one each at a time; nothing else on the node may use them.",
	},
	{
		Name: "allowed_users", Type: cty.List(cty.String),
		Doc: "Users that a service may choose to run as, beside the one that it gets by itself.",
	},
	{
		Name: "artifact_sources", Type: cty.List(cty.String),
		Doc: "Directories and URLs that artifacts must be below; without it, everything that the driver can read can be deployed.",
	},
	{
		Name: "artifact_max_bytes", Type: cty.Number, Default: cty.NumberIntVal(defaultMaxBytes),
		Doc: "Largest size of an artifact, packed and unpacked, in bytes.",
	},
	{
		Name: "artifact_max_entries", Type: cty.Number, Default: cty.NumberIntVal(defaultMaxEntries),
		Doc: "Most files, directories and links that an artifact may hold.",
	},
}

var workloadSchema = sdk.Schema{
	{
		Name: "command", Type: cty.List(cty.String), Required: true,
		Doc: "Program and arguments; a relative program is looked up in the instance's directory, where the artifact is, and one without a slash then in PATH.",
	},
	{
		Name: "working_dir", Type: cty.String, Default: cty.StringVal("."),
		Doc: "Directory that the program starts in, relative to the instance's directory; it is made if it is not there.",
	},
	{
		Name: "user", Type: cty.String,
		Doc: "User to run as when the driver is root; the target must name it in user or allowed_users.",
	},
	{
		Name: "stop_signal", Type: cty.String, Default: cty.StringVal("SIGTERM"),
		Doc: "Signal that asks the instance to end; what is left after the grace period is killed.",
	},
	{
		Name: "log_max_bytes", Type: cty.Number, Default: cty.NumberIntVal(defaultLogBytes),
		Doc: "Most bytes that are kept of standard output and of standard error, each; at least 65536.",
	},
}

// targetConfig is what targetSchema describes.
type targetConfig struct {
	Address      ipAddress `json:"address"`
	PortRange    portRange `json:"port_range"`
	User         string    `json:"user"`
	UIDRange     idRange   `json:"uid_range"`
	AllowedUsers []string  `json:"allowed_users"`
	Sources      []string  `json:"artifact_sources"`
	MaxBytes     int64     `json:"artifact_max_bytes"`
	MaxEntries   int       `json:"artifact_max_entries"`
}

// workloadConfig is what workloadSchema describes.
type workloadConfig struct {
	Command    []string   `json:"command"`
	WorkingDir string     `json:"working_dir"`
	User       string     `json:"user"`
	StopSignal signalName `json:"stop_signal"`
	LogBytes   int64      `json:"log_max_bytes"`
}

// Types that read themselves, so that errors name the attribute.
var (
	_ encoding.TextUnmarshaler = (*portRange)(nil)
	_ encoding.TextUnmarshaler = (*idRange)(nil)
	_ encoding.TextUnmarshaler = (*signalName)(nil)
	_ encoding.TextUnmarshaler = (*ipAddress)(nil)
)

type portRange struct{ port.Range }

// UnmarshalText implements encoding.TextUnmarshaler.
func (r *portRange) UnmarshalText(text []byte) (err error) {
	r.Range, err = port.ParseRange(string(text))
	return err
}

type idRange struct{ first, last int }

// UnmarshalText implements encoding.TextUnmarshaler.
func (r *idRange) UnmarshalText(text []byte) error {
	first, last, ok := strings.Cut(string(text), "-")
	a, errA := strconv.ParseInt(first, 10, 32)
	b, errB := strconv.ParseInt(last, 10, 32)
	if !ok || errA != nil || errB != nil || a < 1000 || a > b {
		return fmt.Errorf("%q is no range of user ids from 1000 on, such as %s", text, defaultUIDs)
	}
	r.first, r.last = int(a), int(b)
	return nil
}

type signalName syscall.Signal

// UnmarshalText implements encoding.TextUnmarshaler.
func (s *signalName) UnmarshalText(text []byte) error {
	name := strings.ToUpper(string(text))
	if !strings.HasPrefix(name, "SIG") {
		name = "SIG" + name
	}
	n := unix.SignalNum(name)
	if n == 0 {
		return fmt.Errorf("%q is no signal such as SIGTERM or SIGQUIT", text)
	}
	*s = signalName(n)
	return nil
}

type ipAddress string

// UnmarshalText implements encoding.TextUnmarshaler.
func (a *ipAddress) UnmarshalText(text []byte) error {
	ip, err := netip.ParseAddr(string(text))
	if err != nil {
		return err
	}
	if ip.IsUnspecified() {
		return fmt.Errorf("%s is no address that anybody can connect to; give one that this node has", ip)
	}
	*a = ipAddress(ip.String())
	return nil
}
