package packaging

import (
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"gopkg.in/yaml.v3"
)

// release is what the tests look at in .goreleaser.yml.
type release struct {
	Builds []struct {
		Main, Binary string
		Goarch       []string
	}
	Archives []struct {
		Files []yaml.Node
	}
	NFPMs []struct {
		Formats  []string
		Contents []struct{ Src, Dst, Type string }
		Scripts  map[string]string
	} `yaml:"nfpms"`
}

func load(t *testing.T) release {
	t.Helper()
	data, err := os.ReadFile("../.goreleaser.yml")
	if err != nil {
		t.Fatal(err)
	}
	var r release
	if err := yaml.Unmarshal(data, &r); err != nil {
		t.Fatal(err)
	}
	return r
}

func TestEveryBinaryIsReleased(t *testing.T) {
	commands, err := filepath.Glob("../cmd/*/main.go")
	if err != nil || len(commands) < 4 {
		t.Fatalf("commands %v, error %v", commands, err)
	}
	var released []string
	for _, build := range load(t).Builds {
		released = append(released, build.Main)
		if build.Main != "./cmd/"+build.Binary || !slices.Equal(build.Goarch, []string{"amd64", "arm64"}) {
			t.Errorf("%s is built as %s for %v", build.Main, build.Binary, build.Goarch)
		}
	}
	for _, command := range commands {
		if name := "./cmd/" + filepath.Base(filepath.Dir(command)); !slices.Contains(released, name) {
			t.Errorf("%s is not released", name)
		}
	}
	if len(released) != len(commands) {
		t.Errorf("%d builds for %d commands", len(released), len(commands))
	}
}

func TestEveryPackagedFileExists(t *testing.T) {
	r := load(t)
	if len(r.NFPMs) != 1 || !slices.Equal(r.NFPMs[0].Formats, []string{"deb", "rpm"}) {
		t.Fatalf("packages: %+v", r.NFPMs)
	}
	var sources []string
	configuration := ""
	for _, content := range r.NFPMs[0].Contents {
		sources = append(sources, content.Src)
		if content.Dst == "/etc/instar/instard.hcl" {
			configuration = content.Type
		}
	}
	for _, script := range r.NFPMs[0].Scripts {
		sources = append(sources, script)
	}
	if len(sources) < 6 {
		t.Errorf("packaged files: %v", sources)
	}
	for _, source := range sources {
		if _, err := os.Stat(filepath.Join("..", source)); err != nil {
			t.Error(err)
		}
	}
	if configuration != "config|noreplace" {
		t.Errorf("the configuration is packaged as %q: an upgrade would replace what the operator wrote", configuration)
	}
}

func TestScriptsAreValidShell(t *testing.T) {
	for _, script := range []string{"postinstall.sh", "preremove.sh"} {
		if out, err := exec.Command("sh", "-n", script).CombinedOutput(); err != nil {
			t.Errorf("%s: %v\n%s", script, err, out)
		}
	}
}

// A restart of the daemon must leave drivers and instances alone, and they must find the same files as
// before: nothing in the unit may end them or give the next daemon another view of the file system.
func TestUnitLeavesDriversAndInstancesRunning(t *testing.T) {
	unit, err := os.ReadFile("instard.service")
	if err != nil {
		t.Fatal(err)
	}
	settings := map[string]string{}
	for line := range strings.Lines(string(unit)) {
		if key, value, ok := strings.Cut(strings.TrimSpace(line), "="); ok && !strings.HasPrefix(line, "#") {
			settings[key] = value
		}
	}
	for key, want := range map[string]string{
		"KillMode": "process", "Delegate": "yes", "RuntimeDirectoryPreserve": "yes",
		"ExecStart": "/usr/bin/instard -config /etc/instar/instard.hcl",
	} {
		if settings[key] != want {
			t.Errorf("%s=%s, want %s", key, settings[key], want)
		}
	}
	for _, key := range []string{
		"PrivateTmp", "PrivateDevices", "PrivateUsers", "PrivateMounts", "ProtectSystem", "ProtectHome", "ReadWritePaths",
		"ProtectControlGroups", "ProtectProc", "RootDirectory", "TemporaryFileSystem", "DynamicUser", "MemoryMax", "ExecStop",
	} {
		if value, ok := settings[key]; ok {
			t.Errorf("%s=%s would reach drivers and instances, or part them from the next daemon", key, value)
		}
	}
}
