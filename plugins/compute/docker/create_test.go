package docker_test

import (
	"fmt"
	"maps"
	"net"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/moby/moby/client"

	"github.com/instarhq/instar/sdk"
)

// everything is a workload that uses every attribute.
const everything = `{
	"entrypoint": ["sh", "-c"],
	"command": ["env; id -u; cat /etc/site.conf; echo; touch /made && echo wrote || echo refused; touch /scratch/x && echo scratch; echo $HOME >/scratch/index.html; exec httpd -f -p ${port.http} -h /scratch"],
	"user": "web:web", "working_dir": "/tmp", "read_only": true, "tmpfs": {"/scratch": "size=1m,mode=1777"},
	"cap_add": ["net_bind_service"], "cap_drop": ["CAP_CHOWN", "net_raw"],
	"networks": ["%s", "%s"], "labels": {"team": "shop"}, "stop_signal": "quit", "init": true,
	"log_driver": "json-file", "log_options": {"max-size": "1m"}
}`

func TestEverythingOfTheSpec(t *testing.T) {
	t.Parallel()
	needEngine(t)
	r := newRig(t, engine, `, "port_range": "31000-31999"`)
	front, back := r.network("front"), r.network("back")
	config := strings.Replace(strings.Replace(everything, "%s", front, 1), "%s", back, 1)
	spec := r.spec(config)
	spec.Env = map[string]string{"GREETING": "hello ${instance.id} on ${port.http}", "HOME": "/tmp"}
	spec.Ports = []sdk.Port{{Name: "http", Number: 8080}, {Name: "admin"}}
	spec.Resources = sdk.Resources{CPU: 500, Memory: 64 << 20}
	spec.Mounts = []sdk.Mount{{Path: "etc/site.conf", Data: []byte("from a config")}}
	i := r.create(spec)

	c := r.container(spec.ID)
	for what, ok := range map[string]bool{
		"user":        c.Config.User == "web:web",
		"directory":   c.Config.WorkingDir == "/tmp",
		"read-only":   c.HostConfig.ReadonlyRootfs,
		"tmpfs":       c.HostConfig.Tmpfs["/scratch"] == "size=1m,mode=1777",
		"cap_add":     slices.Equal(c.HostConfig.CapAdd, []string{"CAP_NET_BIND_SERVICE"}),
		"cap_drop":    slices.Equal(c.HostConfig.CapDrop, []string{"CAP_CHOWN", "CAP_NET_RAW"}),
		"cpu":         c.HostConfig.NanoCPUs == 5e8,
		"memory":      c.HostConfig.Memory == 64<<20,
		"networks":    slices.Equal(slices.Sorted(maps.Keys(c.NetworkSettings.Networks)), slices.Sorted(slices.Values([]string{front, back}))),
		"labels":      c.Config.Labels["team"] == "shop" && c.Config.Labels["instar.service"] == "web" && c.Config.Labels["instar.revision"] == "3",
		"stop signal": c.Config.StopSignal == "SIGQUIT" && *c.Config.StopTimeout == 2,
		"init":        c.HostConfig.Init != nil && *c.HostConfig.Init,
		"logging":     c.HostConfig.LogConfig.Type == "json-file" && c.HostConfig.LogConfig.Config["max-size"] == "1m",
		"restart":     c.HostConfig.RestartPolicy.Name == "no" || c.HostConfig.RestartPolicy.Name == "",
		"health":      slices.Equal(c.Config.Healthcheck.Test, []string{"NONE"}),
		"privileges":  slices.Contains(c.HostConfig.SecurityOpt, "no-new-privileges") && !c.HostConfig.Privileged,
	} {
		if !ok {
			t.Errorf("%s is not as the spec says: %+v %+v", what, c.Config, c.HostConfig)
		}
	}
	host, port, err := net.SplitHostPort(i.Addresses["http"])
	if err != nil || host != engine.Address || port < "31000" || port > "31999" {
		t.Errorf("http is at %q, %v; want %s and a port of the range", i.Addresses["http"], err, engine.Address)
	}
	eventually(t, "it answers", func() bool {
		body, err := get(t.Context(), i.Addresses["http"])
		return err == nil && body == "/tmp"
	})
	r.printed(spec.ID, "GREETING=hello "+spec.ID+" on 8080", "INSTAR_INSTANCE="+spec.ID, "INSTAR_PORT_HTTP=8080", "INSTAR_PORT_ADMIN=20000",
		"INSTAR_SERVICE=web", "INSTAR_REVISION=3", "1000", "from a config", "refused", "scratch")
}

// network makes a network that the test removes again.
func (r *rig) network(name string) string {
	r.Helper()
	name += "-" + r.req.Cluster
	if _, err := r.e.API.NetworkCreate(r.Context(), name, client.NetworkCreateOptions{Driver: "bridge"}); err != nil {
		r.Fatalf("make network: %v", err)
	}
	return name
}

// printed wants lines in an instance's output.
func (r *rig) printed(id string, want ...string) {
	r.Helper()
	var lines []string
	eventually(r.T, "the instance prints "+want[len(want)-1], func() bool {
		lines = nil
		if err := r.driver.Logs(r.Context(), id, sdk.LogOptions{}, func(l sdk.LogLine) error {
			lines = append(lines, l.Text)
			return nil
		}); err != nil {
			r.Fatalf("Logs: %v", err)
		}
		return slices.Contains(lines, want[len(want)-1])
	})
	for _, line := range want {
		if !slices.Contains(lines, line) {
			r.Errorf("the instance did not print %q, but %q", line, lines)
		}
	}
}

func TestAProgramThatIsNotThere(t *testing.T) {
	t.Parallel()
	needEngine(t)
	r := newRig(t, engine, "")
	for config, attribute := range map[string]string{
		`{"command": ["no-such-program"]}`:                             "command",
		`{"entrypoint": ["/bin/no-such-program"]}`:                     "command",
		`{"command": ["/etc/passwd"]}`:                                 "command",
		`{"user": "nobody-knows"}`:                                     "user",
		`{"networks": ["no-such-network"]}`:                            "networks[0]",
		`{"networks": ["bridge", "no-such-network"]}`:                  "networks[1]",
		`{"log_driver": "no-such-driver"}`:                             "log_driver",
		`{"log_driver": "json-file", "log_options": {"no-such": "x"}}`: "log_options",
		`{"cap_drop": ["no_such_capability"]}`:                         "cap_drop",
		`{"cap_add": ["sys_admin"]}`:                                   "cap_add[0]",
		`{"networks": ["host"]}`:                                       "networks[0]",
		`{"networks": ["container:web"]}`:                              "networks[0]",
		`{"networks": ["none", "bridge"]}`:                             "networks[0]",
		`{"tmpfs": {"/../etc": ""}}`:                                   "tmpfs",
		`{"labels": {"instar.cluster": "another"}}`:                    "labels",
		`{"working_dir": "relative"}`:                                  "working_dir",
		`{"stop_signal": "SIGNOTHING"}`:                                "stop_signal",
		`{"command": ["a\u0000b"]}`:                                    "command",
		`{"command": ["${port.http}"]}`:                                "command[0]",
		`{"entrypoint": [""]}`:                                         "entrypoint",
		`{"log_options": {"max-size": "1m"}}`:                          "log_options",
	} {
		r.refused(r.spec(config), attribute)
	}
	spec := r.spec(waits)
	spec.Resources.Memory = 1 << 20
	r.refused(spec, "resources.memory")
	spec = r.spec(waits)
	spec.Resources.CPU = 1_000_000
	r.refused(spec, "resources.cpu")
	spec.Resources.CPU = 1
	r.refused(spec, "resources.cpu")
	for _, ports := range [][]sdk.Port{{{Name: "a", Number: 80}, {Name: "b", Number: 80}}, {{Name: "b", Number: 70000}}, {{Name: "b"}, {Name: "b"}}, {{Name: "b", Number: -1}}} {
		spec = r.spec(waits)
		spec.Ports = ports
		r.refused(spec, "port.b")
	}
	spec = r.spec(`{"networks": ["none"]}`)
	spec.Ports = []sdk.Port{{Name: "http"}}
	r.refused(spec, "networks")
}

// TestTheLongestText: what the kernel takes comes to run, and a byte more is refused before anything is made.
func TestTheLongestText(t *testing.T) {
	t.Parallel()
	needEngine(t)
	r := newRig(t, engine, "")
	const longest = 128<<10 - 1
	for more := 1; more >= 0; more-- {
		variable, argument := r.spec(waits), r.spec(fmt.Sprintf(`{"entrypoint": ["sleep", "3600", %q]}`, strings.Repeat("0", longest+more)))
		variable.Env = map[string]string{"LONG": strings.Repeat("x", longest+more-len("LONG="))}
		if more > 0 {
			r.refused(variable, "env.LONG")
			r.refused(argument, "entrypoint[2]")
			continue
		}
		r.create(variable)
		r.create(argument)
		for _, spec := range []sdk.InstanceSpec{variable, argument} {
			if got := r.inspect(spec.ID); got.State != sdk.StateRunning {
				t.Errorf("with the longest text that there may be it is %s: %+v", got.State, got.Exit)
			}
		}
	}
}

func TestLimitsHold(t *testing.T) {
	t.Parallel()
	needEngine(t)
	r := newRig(t, engine, "")
	spec := r.spec(`{"command": ["sh", "-c", "x=0123456789abcdef; while true; do x=$x$x; done"]}`)
	spec.Resources.Memory = 32 << 20
	r.create(spec)
	var i sdk.Instance
	eventually(t, "the kernel ends it", func() bool {
		i = r.inspect(spec.ID)
		return i.State == sdk.StateExited
	})
	if !i.Exit.OOM || i.Exit.Signal != "SIGKILL" || i.Exit.Code != -1 || !strings.Contains(i.Exit.Message, "memory") {
		t.Errorf("exit is %+v, want it to tell of memory", *i.Exit)
	}
}

func TestGraceAndStopSignal(t *testing.T) {
	t.Parallel()
	needEngine(t)
	r := newRig(t, engine, "")
	polite := r.spec(`{"command": ["sh", "-c", "trap 'echo asked; exit 0' USR1; echo ready; sleep 3600 & wait"], "stop_signal": "SIGUSR1"}`)
	r.create(polite)
	r.printed(polite.ID, "ready")
	var lines []string
	followed := make(chan error, 1)
	go func() {
		followed <- r.driver.Logs(t.Context(), polite.ID, sdk.LogOptions{Follow: true}, func(l sdk.LogLine) error {
			lines = append(lines, l.Text)
			return nil
		})
	}()
	began := time.Now()
	if err := r.driver.Destroy(t.Context(), polite.ID, 50*time.Second); err != nil {
		t.Fatalf("Destroy: %v", err)
	}
	if took := time.Since(began); took > 30*time.Second {
		t.Errorf("the end of an instance that obeys took %s", took)
	}
	if err := <-followed; err != nil {
		t.Errorf("Logs: %v", err)
	}
	if !slices.Contains(lines, "ready") {
		t.Errorf("the output was %q", lines)
	}
	deaf := r.spec(`{"command": ["sh", "-c", "trap '' TERM; echo ready; sleep 3600 & wait; sleep 3600"]}`)
	r.create(deaf)
	r.printed(deaf.ID, "ready")
	began = time.Now()
	if err := r.driver.Destroy(t.Context(), deaf.ID, time.Second); err != nil {
		t.Fatalf("Destroy: %v", err)
	}
	if took := time.Since(began); took < time.Second {
		t.Errorf("an instance got %s of its grace of 1s", took)
	}
	if left := r.containers(); len(left) > 0 {
		t.Errorf("left: %v", left)
	}
}
