package process_test

import (
	"bytes"
	"compress/gzip"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"

	"github.com/klauspost/compress/zstd"

	"github.com/instarhq/instar/sdk"
)

const hello = "#!/bin/sh\necho \"hello from $0 in $(pwd)\"\ncat data/greeting 2>/dev/null || true\n"

// Every kind of artifact runs with the same command.
func TestArtifactKinds(t *testing.T) {
	n := newNode(t)
	packed := tarOf(t, map[string]string{"web": hello, "data/greeting": "hi\n"})
	var gz bytes.Buffer
	z := gzip.NewWriter(&gz)
	if _, err := z.Write(packed); err != nil {
		t.Fatal(err)
	}
	if err := z.Close(); err != nil {
		t.Fatal(err)
	}
	zs, err := zstd.NewWriter(nil)
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	if err := os.CopyFS(dir, os.DirFS(unpackedArtifact(t))); err != nil {
		t.Fatal(err)
	}
	for name, source := range map[string]string{
		"tar": writeFile(t, "web.tar", string(packed), 0o644), "tar.gz": writeFile(t, "web.tar.gz", gz.String(), 0o644),
		"tar.zst":   writeFile(t, "web.tar.zst", string(zs.EncodeAll(packed, nil)), 0o644),
		"directory": dir, "single program": writeFile(t, "web", hello, 0o755),
	} {
		spec := n.spec("./web")
		spec.Artifact = n.pin(source)
		lines := n.output(spec)
		if !strings.Contains(lines[0], "hello from ") || !strings.Contains(lines[0], "/web in ") {
			t.Errorf("%s: output is %q", name, lines)
		}
		if name != "single program" && (len(lines) != 2 || lines[1] != "hi") {
			t.Errorf("%s: output is %q, want the greeting from the artifact's folder too", name, lines)
		}
	}
}

func unpackedArtifact(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	if err := os.Mkdir(filepath.Join(dir, "data"), 0o755); err != nil {
		t.Fatal(err)
	}
	for name, content := range map[string]string{"web": hello, "data/greeting": "hi\n"} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(content), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

// An instance gets its own environment and nothing of the driver's.
func TestEnvironment(t *testing.T) {
	t.Setenv("INSTAR_SECRET_OF_THE_DAEMON", "leaked")
	n := newNode(t)
	spec := n.spec("/usr/bin/env")
	spec.Ports = []sdk.Port{{Name: "http"}, {Name: "admin-api"}}
	spec.Env = map[string]string{"LISTEN": ":${port.http}", "ME": "${instance.id}", "INSTAR_INSTANCE": "forged"}
	spec.Artifact = n.pin(unpackedArtifact(t))
	i := n.create(spec)
	n.exited(spec.ID)
	lines := n.logs(spec.ID)
	port := func(name string) string {
		_, number, err := net.SplitHostPort(i.Addresses[name])
		if err != nil {
			t.Fatalf("address of %s is %q", name, i.Addresses[name])
		}
		return number
	}
	for _, want := range []string{
		"LISTEN=:" + port("http"), "INSTAR_PORT_HTTP=" + port("http"), "INSTAR_PORT_ADMIN_API=" + port("admin-api"),
		"ME=" + spec.ID, "INSTAR_INSTANCE=" + spec.ID, "INSTAR_SERVICE=web", "INSTAR_REVISION=1", "INSTAR_CLUSTER=test",
		"INSTAR_GENERATION=1", "INSTAR_REVISION_DIGEST=" + spec.RevisionDigest,
	} {
		if !slices.Contains(lines, want) {
			t.Errorf("the environment has no %s: %q", want, lines)
		}
	}
	known := []string{"PATH", "HOME", "TMPDIR", "LANG", "LISTEN", "ME"}
	for _, line := range lines {
		name, _, _ := strings.Cut(line, "=")
		if !strings.HasPrefix(name, "INSTAR_") && !slices.Contains(known, name) || strings.Contains(line, "leaked") {
			t.Errorf("the environment has %s", line)
		}
	}
}

// ignoredByName is the part of a SigIgn mask that has names. GNU make hands two nameless signals of the
// C library (32 and 33) to its children as ignored, which Go cannot set and no program asks for.
func ignoredByName(t *testing.T, mask string) uint64 {
	t.Helper()
	n, err := strconv.ParseUint(strings.TrimSpace(mask), 16, 64)
	if err != nil {
		t.Fatal(err)
	}
	return n & (1<<31 - 1)
}

// An instance has no privileges, and its own user, session, and limits.
func TestConfinement(t *testing.T) {
	n := newNode(t)
	script := `grep -E '^(Uid|NoNewPrivs|CapEff|CapPrm|CapInh|CapAmb|SigIgn|Groups):' /proc/self/status
		echo "core $(ulimit -c)"; echo "session $(cut -d' ' -f6 /proc/$$/stat) $$"; ls /proc/$$/fd; echo end; touch mine && echo wrote
		echo again >>/dev/stdout`
	lines := n.output(n.spec("/bin/sh", "-c", script))
	has := func(want string) {
		t.Helper()
		if !slices.ContainsFunc(lines, func(l string) bool { return strings.Join(strings.Fields(l), " ") == want }) {
			t.Errorf("no line %q in %q", want, lines)
		}
	}
	has("NoNewPrivs: 1")
	has("CapInh: 0000000000000000")
	has("CapAmb: 0000000000000000")
	has("core 0")
	has("wrote")
	has("again")
	for _, line := range lines {
		if mask, ok := strings.CutPrefix(line, "SigIgn:"); ok && ignoredByName(t, mask) != 0 {
			t.Errorf("the instance ignores signals: %s", mask)
		}
		if session, ok := strings.CutPrefix(line, "session "); ok {
			if f := strings.Fields(session); f[0] != f[1] {
				t.Errorf("the instance is in session %s and is process %s", f[0], f[1])
			}
		}
	}
	first, last := slices.IndexFunc(lines, func(l string) bool { return strings.HasPrefix(l, "session") }), slices.Index(lines, "end")
	if fds := lines[first+1 : last]; strings.Join(fds, " ") != "0 1 2" && strings.Join(fds, " ") != "0 1 2 10" { // 10: dash's own
		t.Errorf("the instance has open files %q, want only the standard ones", fds)
	}
	if os.Geteuid() != 0 {
		return
	}
	has("CapEff: 0000000000000000")
	has("CapPrm: 0000000000000000")
	other := n.output(n.spec("/bin/sh", "-c", "id -u; id -g; id -G"))
	uid, err := strconv.Atoi(other[0])
	if err != nil || uid < 2030043136 || other[1] != other[0] || other[2] != other[0] {
		t.Errorf("the instance runs as %q, want a user, and one group, of its own", other)
	}
	if slices.Contains(lines, fmt.Sprintf("Uid:\t%d\t%d\t%d\t%d", uid, uid, uid, uid)) {
		t.Errorf("two instances at the same time have user %d", uid)
	}
}

// What is the driver's, and other instances', is out of reach when the driver is root.
func TestStateIsHidden(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Log("the driver is not root: instances are the driver's own user, and nothing can be hidden")
	}
	n := newNode(t)
	other := n.spec("/bin/sh", "-c", "echo secret >mine; exec sleep 3600")
	n.create(other)
	spec := n.spec("/bin/sh", "-c", `ls "$INSTAR_DIR/../.." ; cat ../../`+other.ID+`/dir/mine; ls /proc/1/root/ >/dev/null 2>&1 && echo root
		echo x >"$INSTAR_ARTIFACT/web" && echo changed; rm -f web && echo removed; cat web | head -1; true`)
	spec.Artifact = n.pin(unpackedArtifact(t))
	lines := strings.Join(n.output(spec), "\n")
	if os.Geteuid() == 0 {
		for _, bad := range []string{"secret", "tombstones", "removed", "root", "changed", other.ID + "\n"} {
			if strings.Contains(lines, bad) {
				t.Errorf("the instance could see or do too much (%q): %s", bad, lines)
			}
		}
	}
	if strings.Contains(lines, "changed") || os.Geteuid() == 0 && !strings.Contains(lines, "#!/bin/sh") {
		t.Errorf("the artifact could be changed, or not be read: %s", lines)
	}
}

func TestMounts(t *testing.T) {
	n := newNode(t)
	source := t.TempDir()
	for name, content := range map[string]string{"etc/site.conf": "packed", "etc/other.conf": "other", "top": "top", "etc/deep/x": "x"} {
		path := filepath.Join(source, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(content+"\n"), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	spec := n.spec("/bin/sh", "-c", `cat etc/site.conf etc/other.conf etc/deep/x etc/deep/y top new/dir/z
		(echo no >>etc/site.conf) 2>/dev/null && echo wrote; mkdir work && echo made; stat -c %a etc/deep/y; true`)
	spec.Artifact = n.pin(source)
	spec.Mounts = []sdk.Mount{
		{Path: "etc/site.conf", Data: []byte("mounted\n")},
		{Path: "etc/deep/y", Data: []byte("y\n"), Mode: 0o600},
		{Path: "top", Data: []byte("hidden\n")},
		{Path: "new/dir/z", Data: []byte("z\n")},
	}
	got := strings.Join(n.output(spec), " ")
	if want := "mounted other x y hidden z made 440"; got != want {
		t.Errorf("output is %q, want %q", got, want)
	}
	for name, mounts := range map[string][]sdk.Mount{
		"below a file of the artifact": {{Path: "top/x"}}, "in the place of a directory": {{Path: "etc"}},
		"twice": {{Path: "a"}, {Path: "a"}}, "below a mount": {{Path: "a"}, {Path: "a/b"}}, "special bits": {{Path: "a", Mode: 0o4755}},
		"outside": {{Path: "etc/../../x"}}, "not clean": {{Path: "etc//x"}}, "the root": {{Path: "."}},
	} {
		spec := n.spec("/bin/true")
		spec.Artifact, spec.Mounts = n.pin(source), mounts
		_, err := n.driver.Create(t.Context(), spec)
		if sdk.CodeOf(err) != sdk.CodeInvalidConfig || !strings.HasPrefix(err.Error(), "mount[") {
			t.Errorf("a mount %s: %v, want InvalidConfig at the mount", name, err)
		}
	}
}

// A command that cannot run is an error that names the cause, and leaves nothing behind.
func TestCommandErrors(t *testing.T) {
	n := newNode(t)
	foreign, err := os.ReadFile("/bin/true")
	if err != nil {
		t.Fatal(err)
	}
	arm := slices.Clone(foreign)
	arm[18] = 40 // e_machine: ARM
	source := t.TempDir()
	files := map[string]string{
		"nointerp": "#!/no/such/interpreter\n", "relative": "#!sh\n", "dos": "#!/bin/sh\r\nexit\r\n", "arm": string(arm),
		"data": "just text", "empty": "", "short": string(foreign[:100]),
	}
	for name, content := range files {
		if err := os.WriteFile(filepath.Join(source, name), []byte(content), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.WriteFile(filepath.Join(source, "plain"), []byte("#!/bin/sh\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	if err := os.MkdirAll(filepath.Join(source, "bin", "x"), 0o755); err != nil {
		t.Fatal(err)
	}
	artifact := n.pin(source)
	for _, c := range []struct {
		command   []string
		attribute string
		part      string
	}{
		{[]string{}, "command", "empty"},
		{[]string{"./wbe"}, "command", "which has: .tmp, arm, bin, data"},
		{[]string{"no-such-program"}, "command", "nor in PATH"},
		{[]string{"/no/such/program"}, "command", "this node has no /no/such/program"},
		{[]string{"../web"}, "command", "leaves"},
		{[]string{"./plain"}, "command", "not executable"},
		{[]string{"./bin"}, "command", "is a directory"},
		{[]string{"./nointerp"}, "command", "needs the interpreter /no/such/interpreter"},
		{[]string{"./relative"}, "command", "must be an absolute path"},
		{[]string{"./dos"}, "command", "Windows line ends"},
		{[]string{"./arm"}, "command", "is for ARM"},
		{[]string{"./data"}, "command", "neither a program"},
		{[]string{"./empty"}, "command", "is empty"},
		{[]string{"./short"}, "command", "damaged program"},
		{[]string{"/bin/echo", "${port.nope}"}, "command[1]", `no port "nope"`},
		{[]string{"/bin/echo", strings.Repeat("x", 200<<10)}, "command", "too long"},
	} {
		spec := n.spec(c.command...)
		spec.Artifact = artifact
		_, err := n.driver.Create(t.Context(), spec)
		wantCode(t, err, sdk.CodeInvalidConfig, c.part)
		if err != nil && !strings.HasPrefix(err.Error(), c.attribute+": ") {
			t.Errorf("the error is not at %s: %v", c.attribute, err)
		}
	}
	all, err := n.driver.List(t.Context(), n.req.Cluster)
	if err != nil || len(all) != 0 {
		t.Errorf("List has %v, %v after nothing could be created", all, err)
	}
	left, err := os.ReadDir(filepath.Join(n.req.StateDir, "instances"))
	if err != nil || len(left) != 0 {
		t.Errorf("the state directory has %v, %v", left, err)
	}
}

func TestWorkloadAttributes(t *testing.T) {
	n := newNode(t)
	for _, c := range []struct{ attribute, json, part string }{
		{"working_dir", `"../x"`, "stay in it"},
		{"working_dir", `"/tmp"`, "relative"},
		{"log_max_bytes", `10`, "at least 65536"},
		{"stop_signal", `"SIGNOPE"`, "no signal"},
		{"user", `"root"`, ""},
	} {
		spec := n.spec()
		spec.Config = []byte(fmt.Sprintf(`{"command": ["/bin/true"], %q: %s}`, c.attribute, c.json))
		_, err := n.driver.Create(t.Context(), spec)
		if c.attribute == "user" && os.Geteuid() != 0 {
			continue
		}
		wantCode(t, err, sdk.CodeInvalidConfig, c.part)
		if err != nil && !strings.HasPrefix(err.Error(), c.attribute+": ") {
			t.Errorf("the error is not at %s: %v", c.attribute, err)
		}
	}
	spec := n.spec()
	spec.Config = []byte(`{"command": ["/bin/pwd"], "working_dir": "some/where"}`)
	if lines := n.output(spec); !strings.HasSuffix(lines[0], "/"+spec.ID+"/dir/some/where") {
		t.Errorf("the working directory is %q", lines)
	}
}

// A hundred instances at once each get their own ports and users.
func TestHundredConcurrentCreates(t *testing.T) {
	n := newNode(t)
	artifact := n.pin(unpackedArtifact(t))
	var group sync.WaitGroup
	made := make([]sdk.Instance, 100)
	for k := range made {
		spec := n.spec("/bin/sleep", "3600")
		spec.Artifact, spec.Ports = artifact, []sdk.Port{{Name: "a"}, {Name: "b"}}
		group.Go(func() {
			i, err := n.driver.Create(t.Context(), spec)
			if err != nil {
				t.Errorf("Create: %v", err)
			}
			made[k] = i
		})
	}
	group.Wait()
	n.reopen()
	all, err := n.driver.List(t.Context(), n.req.Cluster)
	if err != nil || len(all) != len(made) {
		t.Fatalf("List has %d instances, %v; want %d", len(all), err, len(made))
	}
	addresses := map[string]string{}
	for _, i := range all {
		if i.State != sdk.StateRunning {
			t.Errorf("%s is %s: %+v", i.ID, i.State, i.Exit)
		}
		for _, address := range i.Addresses {
			if other := addresses[address]; other != "" {
				t.Errorf("%s and %s both have %s", other, i.ID, address)
			}
			addresses[address] = i.ID
		}
	}
	for _, i := range all {
		group.Go(func() { n.destroy(i.ID, 0) })
	}
	group.Wait()
}
