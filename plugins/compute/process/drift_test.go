package process_test

import (
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"github.com/instarhq/instar/sdk"
)

// Whatever an instance was created from, a change of it shows in its fingerprint; nothing else does.
func TestDrift(t *testing.T) {
	n := newNode(t)
	tool := filepath.Join(n.shared, "tool")
	sleep, err := os.ReadFile("/bin/sleep")
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(tool, sleep, 0o755); err != nil {
		t.Fatal(err)
	}
	for name, change := range map[string]func(i sdk.InstanceSpec, root string) error{
		"a file of the artifact": func(_ sdk.InstanceSpec, root string) error {
			web, err := filepath.EvalSymlinks(filepath.Join(root, "web"))
			return errors.Join(err, os.Chmod(web, 0o755), os.WriteFile(web, []byte("other"), 0))
		},
		"a mode in the artifact": func(_ sdk.InstanceSpec, root string) error {
			return os.Chmod(filepath.Join(root, "web"), 0o777)
		},
		"a mount": func(_ sdk.InstanceSpec, root string) error {
			path := filepath.Join(root, "etc", "conf")
			return errors.Join(os.Chmod(path, 0o644), os.WriteFile(path, []byte("other"), 0), os.Chmod(path, 0o444))
		},
		"a mount replaced by a link": func(_ sdk.InstanceSpec, root string) error {
			path := filepath.Join(root, "etc", "conf")
			return errors.Join(os.Rename(path, path+"2"), os.Symlink("conf2", path))
		},
		"the program": func(sdk.InstanceSpec, string) error {
			return errors.Join(os.Rename(tool, tool+"2"), os.WriteFile(tool, []byte("new version"), 0o755))
		},
	} {
		if err := os.WriteFile(tool+".new", sleep, 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.Rename(tool+".new", tool); err != nil {
			t.Fatal(err)
		}
		spec := n.spec(tool, "3600")
		spec.Artifact = n.pin(unpackedArtifact(t))
		spec.Mounts = []sdk.Mount{{Path: "etc/conf", Data: []byte("conf")}}
		made := n.create(spec)
		root := filepath.Join(n.req.StateDir, "instances", spec.ID, "dir")
		if err := os.WriteFile(filepath.Join(root, "own-file"), []byte("x"), 0o600); err != nil {
			t.Fatal(err)
		}
		n.reopen()
		if got := n.inspect(spec.ID).Fingerprint; got != made.Fingerprint {
			t.Errorf("before %s changes the fingerprint is %s, it was %s", name, got, made.Fingerprint)
		}
		if err := change(spec, root); err != nil {
			t.Fatal(err)
		}
		changed := n.inspect(spec.ID).Fingerprint
		if changed == made.Fingerprint {
			t.Errorf("after a change of %s the fingerprint is the same", name)
		}
		n.reopen()
		if again := n.inspect(spec.ID).Fingerprint; again != changed {
			t.Errorf("%s: the fingerprint of the changed instance is %s, and then %s", name, changed, again)
		}
		// A new instance of the same artifact gets what was pinned.
		fresh := n.spec("./web")
		fresh.Artifact = spec.Artifact
		if lines := n.output(fresh); len(lines) != 2 || lines[1] != "hi" {
			t.Errorf("after a change of %s a new instance says %q", name, lines)
		}
		n.destroy(spec.ID, 0)
	}
}

// An end is no drift, and neither is what a program writes over its own command line.
func TestNoDrift(t *testing.T) {
	n := newNode(t)
	spec := n.spec("/bin/sh", "-c", "exec sleep 0.2")
	spec.Resources = sdk.Resources{CPU: 500, Memory: 64 << 20}
	made := n.create(spec)
	n.exited(spec.ID)
	if got := n.inspect(spec.ID).Fingerprint; got != made.Fingerprint {
		t.Errorf("after its end the fingerprint is %s, it was %s", got, made.Fingerprint)
	}
}

// Changed limits of a running instance are drift, where there are limits.
func TestLimitDrift(t *testing.T) {
	n := newNode(t)
	spec := n.spec("/bin/sleep", "3600")
	spec.Resources = sdk.Resources{CPU: 500, Memory: 64 << 20}
	made := n.create(spec)
	found, err := exec.Command("find", "/sys/fs/cgroup", "-type", "d", "-name", spec.ID).Output()
	if err != nil {
		t.Fatal(err)
	}
	group := string(found[:max(len(found)-1, 0)])
	err = os.WriteFile(filepath.Join(group, "memory.max"), []byte("max"), 0)
	if limited := err == nil; limited != (n.inspect(spec.ID).Fingerprint != made.Fingerprint) {
		t.Errorf("the limit was changed (%v), and the fingerprint is %s and was %s", err, n.inspect(spec.ID).Fingerprint, made.Fingerprint)
	}
}
