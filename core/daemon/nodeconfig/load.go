package nodeconfig

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/hashicorp/hcl/v2"
	"github.com/hashicorp/hcl/v2/gohcl"
	"github.com/hashicorp/hcl/v2/hclsyntax"

	"github.com/instarhq/instar/core"
)

// maxFileBytes bounds one configuration file.
const maxFileBytes = 1 << 20

// Load reads a file, or all *.hcl files of a directory in the order of their names as if they were
// one. Problems of the content are an *Error.
func Load(path string) (*Config, error) {
	names, err := filesOf(path)
	if err != nil {
		return nil, err
	}
	c := &Config{files: map[string]*hcl.File{}}
	var diags hcl.Diagnostics
	var files []*hcl.File
	for _, name := range names {
		src, err := readFile(name)
		if err != nil {
			return nil, err
		}
		file, more := hclsyntax.ParseConfig(src, name, hcl.InitialPos)
		diags = append(diags, more...)
		if file != nil {
			c.files[name] = file
			files = append(files, file)
		}
	}
	if !diags.HasErrors() {
		diags = append(diags, c.decode(hcl.MergeFiles(files))...)
	}
	if diags.HasErrors() {
		return nil, &Error{Diagnostics: diags, files: c.files}
	}
	return c, nil
}

func filesOf(path string) ([]string, error) {
	info, err := os.Stat(path)
	if err != nil {
		return nil, fmt.Errorf("configuration: %w", err)
	}
	if !info.IsDir() {
		return []string{path}, nil
	}
	names, err := filepath.Glob(filepath.Join(path, "*.hcl"))
	if err != nil {
		return nil, fmt.Errorf("configuration: %w", err)
	}
	if len(names) == 0 {
		return nil, core.Errorf(core.CodeInvalid, "configuration: %s holds no *.hcl file", path)
	}
	slices.Sort(names)
	return names, nil
}

func readFile(name string) ([]byte, error) {
	info, err := os.Stat(name)
	if err != nil {
		return nil, fmt.Errorf("configuration: %w", err)
	}
	if info.Size() > maxFileBytes {
		return nil, core.Errorf(core.CodeTooLarge, "configuration: %s has %d bytes, the limit is %d", name, info.Size(), maxFileBytes)
	}
	src, err := os.ReadFile(name)
	if err != nil {
		return nil, fmt.Errorf("configuration: %w", err)
	}
	return src, nil
}

// The defaults of a cluster block.
const (
	defaultClusterListen = "0.0.0.0:4748"
	defaultDeadAfter     = 24 * time.Hour
	defaultNodeGrace     = 30 * time.Second
)

// root is the shape of the whole configuration.
type root struct {
	DataDir    string   `hcl:"data_dir,optional"`
	PluginDirs []string `hcl:"plugin_dirs,optional"`
	Cluster    string   `hcl:"cluster,optional"`
	Member     *struct {
		Name          string `hcl:"name,optional"`
		Listen        string `hcl:"listen,optional"`
		Advertise     string `hcl:"advertise,optional"`
		JoinTokenFile string `hcl:"join_token_file,optional"`
		DeadAfter     string `hcl:"dead_after,optional"`
		NodeGrace     string `hcl:"node_grace,optional"`
	} `hcl:"cluster,block"`
	Node *struct {
		Name   string            `hcl:"name,optional"`
		Labels map[string]string `hcl:"labels,optional"`
	} `hcl:"node,block"`
	API *struct {
		Socket string `hcl:"socket,optional"`
		Listen string `hcl:"listen,optional"`
	} `hcl:"api,block"`
	Telemetry *struct {
		Listen string `hcl:"listen,optional"`
	} `hcl:"telemetry,block"`
	Log *struct {
		Level string `hcl:"level,optional"`
		JSON  bool   `hcl:"json,optional"`
	} `hcl:"log,block"`
	Compute []target `hcl:"compute,block"`
	Traffic []target `hcl:"traffic,block"`
	Metrics []target `hcl:"metrics,block"`
}

type target struct {
	Driver string    `hcl:"driver,label"`
	Name   string    `hcl:"target,label"`
	Body   hcl.Body  `hcl:",remain"`
	Range  hcl.Range `hcl:",def_range"`
}

func (c *Config) decode(body hcl.Body) hcl.Diagnostics {
	var r root
	if diags := gohcl.DecodeBody(body, &hcl.EvalContext{}, &r); diags.HasErrors() {
		return diags
	}
	c.DataDir, c.PluginDirs, c.Cluster = r.DataDir, r.PluginDirs, r.Cluster
	if r.Node != nil {
		c.Node, c.Labels = r.Node.Name, r.Node.Labels
	}
	if r.API != nil {
		c.Socket, c.Listen = r.API.Socket, r.API.Listen
	}
	if r.Telemetry != nil {
		c.Metrics = r.Telemetry.Listen
	}
	if r.Log != nil {
		c.LogLevel, c.LogJSON = r.Log.Level, r.Log.JSON
	}
	var diags hcl.Diagnostics
	if r.Member != nil {
		m := r.Member
		if m.Name != "" {
			c.Cluster = m.Name
		}
		c.Member = &Member{Listen: m.Listen, Advertise: m.Advertise, JoinTokenFile: m.JoinTokenFile}
		if c.Member.Listen == "" {
			c.Member.Listen = defaultClusterListen
		}
		for _, d := range []struct {
			name, text string
			standard   time.Duration
			into       *time.Duration
		}{
			{"dead_after", m.DeadAfter, defaultDeadAfter, &c.Member.DeadAfter},
			{"node_grace", m.NodeGrace, defaultNodeGrace, &c.Member.NodeGrace},
		} {
			var err error
			if *d.into = d.standard; d.text != "" {
				*d.into, err = time.ParseDuration(d.text)
			}
			if err != nil || *d.into < 0 {
				diags = append(diags, problem(body.MissingItemRange(), "Invalid duration",
					fmt.Sprintf("cluster: %s = %q is no duration: write a number with a unit, as in 30s or 24h.", d.name, d.text)))
			}
		}
	}
	seen := map[string]hcl.Range{}
	for _, group := range []struct {
		kind    core.DriverKind
		targets []target
	}{{core.DriverCompute, r.Compute}, {core.DriverTraffic, r.Traffic}, {core.DriverMetrics, r.Metrics}} {
		for i := range group.targets {
			diags = append(diags, c.add(group.kind, &group.targets[i], seen)...)
		}
	}
	return diags
}

// add takes a target block whose names are sound and which is the only one of its name.
func (c *Config) add(kind core.DriverKind, t *target, seen map[string]hcl.Range) hcl.Diagnostics {
	var diags hcl.Diagnostics
	for what, name := range map[string]string{"driver": t.Driver, "target": t.Name} {
		if err := core.CheckName(what, name); err != nil {
			diags = append(diags, problem(t.Range, "Invalid name", err.Error()))
		}
	}
	key := strings.Join([]string{string(kind), t.Driver, t.Name}, " ")
	if before, twice := seen[key]; twice {
		diags = append(diags, problem(t.Range, "Duplicate target",
			fmt.Sprintf("The target %s is already configured at %s:%d.", key, before.Filename, before.Start.Line)))
	}
	seen[key] = t.Range
	c.Targets = append(c.Targets, Target{Kind: kind, Driver: t.Driver, Name: t.Name, Range: t.Range, body: t.Body, files: c.files})
	return diags
}

func problem(at hcl.Range, summary, detail string) *hcl.Diagnostic {
	return &hcl.Diagnostic{Severity: hcl.DiagError, Summary: summary, Detail: detail, Subject: at.Ptr()}
}
