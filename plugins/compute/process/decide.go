package process

import (
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/instarhq/instar/plugins/compute/process/artifact"
	"github.com/instarhq/instar/plugins/compute/process/cgroup"
	"github.com/instarhq/instar/plugins/compute/process/logfile"
	"github.com/instarhq/instar/sdk"
)

// searchPath is the PATH of every instance.
const searchPath = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"

func limitsOf(spec sdk.InstanceSpec) cgroup.Limits {
	return cgroup.Limits{CPU: spec.Resources.CPU, Memory: spec.Resources.Memory}
}

// decide fixes what does not depend on the artifact, and takes ports and a user for the instance. The
// caller gives them back if it does not come to be.
func (t *target) decide(spec sdk.InstanceSpec, cfg workloadConfig) (_ record, err error) {
	rec := record{
		Format: recordFormat, ID: spec.ID, Cluster: spec.Cluster, Generation: spec.Generation, Service: spec.Service,
		Revision: spec.Revision, RevisionDigest: spec.RevisionDigest, Created: time.Now().UTC(),
		Address: string(t.settings().Address), Resources: spec.Resources, Grace: spec.Grace,
		StopSignal: int(cfg.StopSignal), LogBytes: cfg.LogBytes,
	}
	if rec.Plan.UID, rec.Plan.GID, rec.OwnUser, err = t.chooseUser(spec.ID, cfg.User); err != nil {
		return record{}, err
	}
	if err = checkPorts(spec.Ports, rec.Plan.UID); err == nil {
		rec.Ports, err = t.ports.Take(spec.ID, spec.Ports)
	}
	if err != nil {
		t.giveBack(rec)
		return record{}, err
	}
	return rec, nil
}

// read decodes and checks a workload configuration.
func (c *workloadConfig) read(config json.RawMessage) error {
	if err := sdk.Decode(workloadSchema, config, c); err != nil {
		return err
	}
	switch {
	case len(c.Command) == 0 || c.Command[0] == "":
		return sdk.InvalidConfig("command", "it is empty; the first element is the program")
	case c.LogBytes < minLogBytes:
		return sdk.InvalidConfig("log_max_bytes", "it must be at least %d", minLogBytes)
	case !filepath.IsLocal(c.WorkingDir):
		return sdk.InvalidConfig("working_dir", "%q must be relative to the instance's directory and stay in it", c.WorkingDir)
	}
	return nil
}

// checkPorts refuses ports that the instance could not listen on.
func checkPorts(ports []sdk.Port, uid *int) error {
	user := os.Geteuid()
	if uid != nil {
		user = *uid
	}
	for _, p := range ports {
		if first := unprivilegedPort(); p.Number != 0 && p.Number < first && user != 0 {
			return sdk.InvalidConfig("port."+p.Name, "port %d is privileged and instances are not: choose one from %d on, or none; "+
				"a route can listen on %d", p.Number, first, p.Number)
		}
	}
	return nil
}

// unprivilegedPort is the first port that any user may listen on.
func unprivilegedPort() int {
	data, err := os.ReadFile("/proc/sys/net/ipv4/ip_unprivileged_port_start")
	if err != nil {
		return 1024
	}
	n, err := strconv.Atoi(strings.TrimSpace(string(data)))
	if err != nil {
		return 1024
	}
	return n
}

// plan completes the record with what the launcher needs. filled is where the instance's directory is
// now, before it gets its name.
func (t *target) plan(i *instance, filled string, spec sdk.InstanceSpec, cfg workloadConfig, tree artifact.Tree) error {
	p := &i.rec.Plan
	var err error
	for n, arg := range cfg.Command {
		if arg, err = sdk.Expand(arg, i.rec.Ports, spec.ID); err != nil {
			return at(fmt.Sprintf("command[%d]", n), err)
		}
		p.Args = append(p.Args, arg)
	}
	if p.Env, err = t.environment(i, spec, tree); err != nil {
		return err
	}
	if err := i.findProgram(rootIn(filled), p.Args[0], spec.Env["PATH"]); err != nil {
		return err
	}
	if i.rec.Program != nil {
		i.rec.Program.Sum = t.programs.sum(i.rec.Program.Path)
	}
	p.Dir = filepath.Join(i.root(), cfg.WorkingDir)
	p.Stdout = filepath.Join(i.dir, logfile.Folder, logfile.Stdout)
	p.Stderr = filepath.Join(i.dir, logfile.Folder, logfile.Stderr)
	if i.group.Exists() {
		p.Group = i.group.ProcsFile()
	}
	p.View, err = t.planView(p.UID, p.GID, i.root(), tree.Dir)
	return err
}

// at adds the attribute's path to an error of sdk.Expand, which does not know it.
func at(attribute string, err error) error {
	var typed *sdk.Error
	if errors.As(err, &typed) && typed.Attribute == "" {
		return sdk.InvalidConfig(attribute, "%s", typed.Message)
	}
	return err
}

// environment is everything that the instance gets: nothing of the driver's own.
func (t *target) environment(i *instance, spec sdk.InstanceSpec, tree artifact.Tree) ([]string, error) {
	env := map[string]string{
		"PATH": searchPath, "HOME": i.root(), "TMPDIR": filepath.Join(i.root(), tmpDir), "LANG": "C.UTF-8",
	}
	for name, value := range spec.Env {
		expanded, err := sdk.Expand(value, i.rec.Ports, spec.ID)
		if err != nil {
			return nil, at("env."+name, err)
		}
		if name == "" || strings.ContainsAny(name, "=\x00") || strings.ContainsRune(expanded, 0) {
			return nil, sdk.InvalidConfig("env."+name, "a name has no = in it, and neither name nor value a zero byte")
		}
		env[name] = expanded
	}
	// Set last: they are also how an instance is recognised.
	env["INSTAR_INSTANCE"] = spec.ID
	env["INSTAR_CLUSTER"] = spec.Cluster
	env["INSTAR_GENERATION"] = strconv.FormatUint(spec.Generation, 10)
	env["INSTAR_SERVICE"] = spec.Service
	env["INSTAR_REVISION"] = strconv.Itoa(spec.Revision)
	env["INSTAR_REVISION_DIGEST"] = spec.RevisionDigest
	env["INSTAR_DIR"] = i.root()
	if tree.Name != "" {
		env["INSTAR_ARTIFACT"] = tree.Dir
	}
	for name, number := range i.rec.Ports {
		env["INSTAR_PORT_"+strings.ToUpper(strings.ReplaceAll(name, "-", "_"))] = strconv.Itoa(number)
	}
	list := make([]string, 0, len(env))
	for _, name := range slices.Sorted(maps.Keys(env)) {
		list = append(list, name+"="+env[name])
	}
	return list, nil
}

// findProgram decides which file the command means.
func (i *instance) findProgram(root, program, search string) error {
	if strings.ContainsRune(program, 0) {
		return sdk.InvalidConfig("command", "%q has a zero byte", program)
	}
	if filepath.IsAbs(program) {
		if _, err := os.Stat(program); errors.Is(err, os.ErrNotExist) {
			return sdk.InvalidConfig("command", "this node has no %s", program)
		}
		i.usesProgram(program)
		return nil
	}
	if !filepath.IsLocal(program) {
		return sdk.InvalidConfig("command", "%q leaves the instance's directory", program)
	}
	if _, err := os.Stat(filepath.Join(root, program)); err == nil {
		i.rec.Plan.Path = filepath.Join(i.root(), program)
		return nil
	}
	if strings.Contains(program, "/") {
		return sdk.InvalidConfig("command", "there is no %q in the instance's directory, which has: %s", path.Clean(program), names(root))
	}
	if search == "" {
		search = searchPath
	}
	for _, dir := range filepath.SplitList(search) {
		found := filepath.Join(dir, program)
		info, err := os.Stat(found)
		if err == nil && filepath.IsAbs(dir) && info.Mode().IsRegular() && info.Mode()&0o111 != 0 {
			i.usesProgram(found)
			return nil
		}
	}
	return sdk.InvalidConfig("command", "there is no %q in the instance's directory, which has: %s; nor in PATH (%s)", program, names(root), search)
}

// usesProgram notes that the program is not part of the artifact.
func (i *instance) usesProgram(path string) {
	i.rec.Plan.Path = path
	i.rec.Program = &programRecord{Path: path}
}
