package docker

import (
	"github.com/zclconf/go-cty/cty"

	"github.com/instarhq/instar/sdk"
)

const (
	defaultEndpoint = "unix:///var/run/docker.sock"
	loopback        = "127.0.0.1"
)

// The values of the target's attribute mounts.
const (
	mountsAuto = "auto"
	mountsBind = "bind"
	mountsCopy = "copy"
)

var targetSchema = sdk.Schema{
	{
		Name: "endpoint", Type: cty.String, Default: cty.StringVal(defaultEndpoint),
		Doc: "Engine's API: unix:///PATH, or tcp://HOST:PORT, which needs tls_ca, tls_cert and tls_key.",
	},
	{Name: "tls_ca", Type: cty.String, Doc: "File with the certificates (PEM) that the engine's certificate is checked against."},
	{Name: "tls_cert", Type: cty.String, Doc: "File with the client's certificate (PEM)."},
	{Name: "tls_key", Type: cty.String, Doc: "File with the client's private key (PEM)."},
	{
		Name: "address", Type: cty.String,
		Doc: "IP address of the engine's machine that ports are published on; 127.0.0.1 for a unix socket, else the endpoint's host.",
	},
	{
		Name: "port_range", Type: cty.String,
		Doc: "Numbers that published ports are chosen from, such as 20000-29999; without it the engine chooses.",
	},
	{
		Name: "registry_config", Type: cty.String,
		Doc: "File in the format of Docker's config.json with the registries' credentials or credential helpers; it is read for every pull.",
	},
	{
		Name: "mounts", Type: cty.String, Default: cty.StringVal(mountsAuto),
		Doc: "How config mounts get into containers: bind (files of this machine), copy (by the API), or auto: bind for a unix socket, else copy.",
	},
	{
		Name: "allowed_capabilities", Type: cty.List(cty.String),
		Doc: "Capabilities that services may add beyond the engine's default ones.",
	},
	{
		Name: "allowed_networks", Type: cty.List(cty.String),
		Doc: "Networks that services may choose; without it all but host.",
	},
	{Name: "log_driver", Type: cty.String, Doc: "Logging driver of containers whose service names none; without it the engine's default."},
	{Name: "log_options", Type: cty.Map(cty.String), Doc: "Options of log_driver."},
}

var workloadSchema = sdk.Schema{
	{Name: "command", Type: cty.List(cty.String), Doc: "Arguments of the image's entrypoint, or program and arguments; without it the image's."},
	{Name: "entrypoint", Type: cty.List(cty.String), Doc: "Program and first arguments in the place of the image's entrypoint."},
	{Name: "user", Type: cty.String, Doc: "User, and group after a colon, by name or number; without it the image's."},
	{Name: "working_dir", Type: cty.String, Doc: "Absolute directory that the program starts in; without it the image's."},
	{Name: "read_only", Type: cty.Bool, Default: cty.False, Doc: "Make the root file system read-only."},
	{Name: "tmpfs", Type: cty.Map(cty.String), Doc: "File systems in memory, by absolute path, with mount options such as size=64m,mode=1777."},
	{Name: "cap_add", Type: cty.List(cty.String), Doc: "Capabilities to add, such as NET_BIND_SERVICE; the target says which beyond the default ones."},
	{Name: "cap_drop", Type: cty.List(cty.String), Doc: "Capabilities to take away, or ALL."},
	{
		Name: "no_new_privileges", Type: cty.Bool, Default: cty.True,
		Doc: "Keep set-user-id programs from gaining privileges.",
	},
	{
		Name: "networks", Type: cty.List(cty.String),
		Doc: "Networks of the engine to join, the first of which ports are published from; host and none stand alone. Without it the default bridge.",
	},
	{Name: "labels", Type: cty.Map(cty.String), Doc: "Labels of the container; those that begin with instar. are taken."},
	{Name: "stop_signal", Type: cty.String, Doc: "Signal that asks the instance to end, such as SIGQUIT; without it the image's, or SIGTERM."},
	{Name: "init", Type: cty.Bool, Default: cty.False, Doc: "Run an init process that passes signals on and reaps processes."},
	{Name: "log_driver", Type: cty.String, Doc: "Logging driver, such as local or journald; without it the target's."},
	{Name: "log_options", Type: cty.Map(cty.String), Doc: "Options of log_driver, such as max-size."},
	{
		Name: "immutable", Type: cty.Bool, Default: cty.False,
		Doc: "The program writes to its tmpfs only: any other change of a file of the container, whoever makes it, is drift.",
	},
}

// targetConfig is what targetSchema describes.
type targetConfig struct {
	Endpoint            string            `json:"endpoint"`
	CA                  string            `json:"tls_ca"`
	Certificate         string            `json:"tls_cert"`
	Key                 string            `json:"tls_key"`
	Address             ipAddress         `json:"address"`
	PortRange           portRange         `json:"port_range"`
	RegistryConfig      string            `json:"registry_config"`
	Mounts              mountsMode        `json:"mounts"`
	AllowedCapabilities []capability      `json:"allowed_capabilities"`
	AllowedNetworks     []string          `json:"allowed_networks"`
	LogDriver           string            `json:"log_driver"`
	LogOptions          map[string]string `json:"log_options"`
}

// workloadConfig is what workloadSchema describes.
type workloadConfig struct {
	Command         []string          `json:"command"`
	Entrypoint      []string          `json:"entrypoint"`
	User            string            `json:"user"`
	WorkingDir      string            `json:"working_dir"`
	ReadOnly        bool              `json:"read_only"`
	Tmpfs           map[string]string `json:"tmpfs"`
	CapAdd          []capability      `json:"cap_add"`
	CapDrop         []capability      `json:"cap_drop"`
	NoNewPrivileges bool              `json:"no_new_privileges"`
	Networks        []string          `json:"networks"`
	Labels          map[string]string `json:"labels"`
	StopSignal      signalName        `json:"stop_signal"`
	Init            bool              `json:"init"`
	LogDriver       string            `json:"log_driver"`
	LogOptions      map[string]string `json:"log_options"`
	Immutable       bool              `json:"immutable"`
}
