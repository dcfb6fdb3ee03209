package docker_test

import (
	"encoding/base64"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/moby/moby/client"

	"github.com/instarhq/instar/plugins/compute/docker/dockertest"
	"github.com/instarhq/instar/sdk"
)

// startRegistry starts a registry that ends with the test.
func startRegistry(t *testing.T, e *dockertest.Engine, credentials bool) *dockertest.Registry {
	t.Helper()
	r, err := e.StartRegistry(t.Context(), credentials)
	if err != nil {
		t.Fatalf("start a registry: %v", err)
	}
	t.Cleanup(func() {
		if err := r.Stop(); err != nil {
			t.Error(err)
		}
	})
	return r
}

// variant imports an image that is like no other, and returns its id.
func variant(t *testing.T, e *dockertest.Engine, name, version string) string {
	t.Helper()
	filler := []byte(strings.Repeat(version+name, 1<<16))
	id, err := e.Busybox(t.Context(), name, []dockertest.File{{Path: "etc/version", Data: filler, Mode: 0o644}}, `CMD ["sleep", "3600"]`)
	if err != nil {
		t.Fatal(err)
	}
	return id
}

// TestTagsArePinned moves a tag while a revision that was pinned before is deployed.
func TestTagsArePinned(t *testing.T) {
	t.Parallel()
	needEngine(t)
	registry := startRegistry(t, engine, false)
	r := newRig(t, engine, "")
	push := func(version string) string {
		variant(t, engine, "instar/pinned:"+version, version)
		name, err := registry.Push(t.Context(), engine, "instar/pinned:"+version, "team/pinned:latest")
		if err != nil {
			t.Fatal(err)
		}
		if _, err := engine.API.ImageRemove(t.Context(), "instar/pinned:"+version, client.ImageRemoveOptions{}); err != nil {
			t.Fatal(err)
		}
		return name
	}
	// What the engine has from an earlier run would be no part of a pull.
	run := fmt.Sprintf("-%08x", rand.Uint32())
	name := push("1" + run)
	one, err := r.driver.Resolve(t.Context(), sdk.Artifact{Source: name})
	if err != nil {
		t.Fatalf("Resolve: %v", err)
	}
	push("2" + run)
	two, err := r.driver.Resolve(t.Context(), sdk.Artifact{Source: name})
	if err != nil || two.Digest == one.Digest {
		t.Fatalf("Resolve after the tag was moved gives %q, %v; it was %q", two.Digest, err, one.Digest)
	}
	var last sdk.FetchProgress
	reports := 0
	if err := r.driver.Fetch(t.Context(), one, func(p sdk.FetchProgress) {
		if reports++; p.Done < last.Done {
			t.Errorf("progress went back from %d to %d", last.Done, p.Done)
		}
		last = p
	}); err != nil {
		t.Fatalf("Fetch: %v", err)
	}
	if reports == 0 || last.Done == 0 || last.Done != last.Total {
		t.Errorf("%d reports of progress, the last is %+v; want all bytes done", reports, last)
	}
	spec := r.spec(`{"command": ["sh", "-c", "head -c 24 /etc/version; echo; trap 'exit 0' TERM; sleep 3600 & wait"]}`)
	spec.Artifact = one
	r.create(spec)
	r.printed(spec.ID, strings.Repeat("1"+run+"instar/pinned:1"+run, 2)[:24])

	// By its digest it is the same, whatever the tag says.
	byDigest, err := r.driver.Resolve(t.Context(), sdk.Artifact{Source: name + "@" + one.Digest, Checksum: one.Digest})
	if err != nil || byDigest.Digest != one.Digest {
		t.Errorf("Resolve by digest gives %q, %v; want %q", byDigest.Digest, err, one.Digest)
	}
	_, err = r.driver.Resolve(t.Context(), sdk.Artifact{Source: registry.Host + "/team/none:1"})
	wantCode(t, err, sdk.CodeNotFound)

	// The one that runs is kept, the other one that was fetched goes.
	if err := r.driver.Fetch(t.Context(), two, nil); err != nil {
		t.Fatal(err)
	}
	freed, err := r.driver.Prune(t.Context(), nil)
	if err != nil || freed < 1<<20 {
		t.Errorf("Prune freed %d bytes, %v; want those of one image", freed, err)
	}
	for digest, there := range map[string]bool{one.Digest: true, two.Digest: false} {
		_, err := engine.API.ImageInspect(t.Context(), registry.Host+"/team/pinned@"+digest)
		if (err == nil) != there {
			t.Errorf("after Prune image %s: %v, want it there: %v", digest, err, there)
		}
	}
}

// TestImagesOfTheEngine are those that no registry has.
func TestImagesOfTheEngine(t *testing.T) {
	t.Parallel()
	needEngine(t)
	r := newRig(t, engine, "")
	id := variant(t, engine, "instar/local:1", "local")
	for _, source := range []string{"instar/local:1", id, "docker.io/instar/local:1"} {
		a, err := r.driver.Resolve(t.Context(), sdk.Artifact{Source: source})
		if err != nil || a.Digest != id {
			t.Errorf("Resolve %s gives %q, %v; want its id %s", source, a.Digest, err, id)
			continue
		}
		spec := r.spec(waits)
		spec.Artifact = a
		r.create(spec)
	}
	// It was not pulled by the driver, so the driver does not remove it.
	if _, err := r.driver.Prune(t.Context(), nil); err != nil {
		t.Fatal(err)
	}
	if _, err := engine.API.ImageInspect(t.Context(), id); err != nil {
		t.Errorf("Prune has removed an image that is not the driver's: %v", err)
	}
	// The tag moves on; what was pinned stays what it was.
	pinned := sdk.Artifact{Source: "instar/local:1", Digest: id}
	other := variant(t, engine, "instar/local:1", "another")
	spec := r.spec(waits)
	spec.Artifact = pinned
	r.create(spec)
	if has := r.container(spec.ID).Image; has != id || has == other {
		t.Errorf("the instance has image %s, want %s", has, id)
	}
	gone := sdk.Artifact{Source: "instar/local:1", Digest: "sha256:" + strings.Repeat("0", 64)}
	if err := r.driver.Fetch(t.Context(), sdk.Artifact{Source: gone.Digest, Digest: gone.Digest}, nil); sdk.CodeOf(err) != sdk.CodeNotFound {
		t.Errorf("Fetch of an id that the engine does not have: %v, want not found", err)
	}
	for _, source := range []string{"", "UPPER/case", "a b", "x@md5:0123", "sha256:123", "-", strings.Repeat("x", 5000), "x:\x00"} {
		_, err := r.driver.Resolve(t.Context(), sdk.Artifact{Source: source})
		wantCode(t, err, sdk.CodeInvalidConfig)
	}
}

// TestCredentials resolves and pulls with credentials of a file, of a helper, with wrong ones and with none.
func TestCredentials(t *testing.T) {
	needEngine(t)
	registry := startRegistry(t, engine, true)
	variant(t, engine, "instar/private:1", "private")
	name, err := registry.Push(t.Context(), engine, "instar/private:1", "private:1")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := engine.API.ImageRemove(t.Context(), "instar/private:1", client.ImageRemoveOptions{}); err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	helper := fmt.Sprintf("#!/bin/sh\nread host\n[ \"$host\" = %q ] || { echo credentials not found in native keychain; exit 1; }\n"+
		"echo '{\"Username\": %q, \"Secret\": %q}'\n", registry.Host, dockertest.User, dockertest.Password)
	if err := os.WriteFile(filepath.Join(dir, "docker-credential-instartest"), []byte(helper), 0o700); err != nil {
		t.Fatal(err)
	}
	t.Setenv("PATH", dir+":"+os.Getenv("PATH"))
	auth := func(password string) string {
		return base64.StdEncoding.EncodeToString([]byte(dockertest.User + ":" + password))
	}
	for what, test := range map[string]struct {
		config string
		code   sdk.Code
	}{
		"file":         {fmt.Sprintf(`{"auths": {%q: {"auth": %q}}}`, registry.Host, auth(dockertest.Password)), ""},
		"helper":       {fmt.Sprintf(`{"credHelpers": {%q: "instartest"}}`, registry.Host), ""},
		"store":        {`{"credsStore": "instartest"}`, ""},
		"wrong":        {fmt.Sprintf(`{"auths": {%q: {"auth": %q}}}`, registry.Host, auth("wrong")), sdk.CodeInvalidConfig},
		"none":         {`{"auths": {"other.example": {"auth": "eDp5"}}}`, sdk.CodeInvalidConfig},
		"no helper":    {fmt.Sprintf(`{"credHelpers": {%q: "no-such-helper"}}`, registry.Host), sdk.CodeUnavailable},
		"not its file": {`[1]`, sdk.CodeUnavailable},
	} {
		t.Run(what, func(t *testing.T) {
			file := filepath.Join(t.TempDir(), "config.json")
			if err := os.WriteFile(file, []byte(test.config), 0o600); err != nil {
				t.Fatal(err)
			}
			r := newRig(t, engine, fmt.Sprintf(`, "registry_config": %q`, file))
			a, err := r.driver.Resolve(t.Context(), sdk.Artifact{Source: name})
			wantCode(t, err, test.code)
			if strings.Contains(fmt.Sprint(err), dockertest.Password) || strings.Contains(fmt.Sprint(err), auth("wrong")) {
				t.Errorf("the error tells the secret: %v", err)
			}
			if test.code != "" {
				return
			}
			spec := r.spec(waits)
			spec.Artifact = a
			r.create(spec) // without a Fetch before
			if err := r.driver.Destroy(t.Context(), spec.ID, 0); err != nil {
				t.Error(err)
			}
			if _, err := r.driver.Prune(t.Context(), nil); err != nil {
				t.Error(err)
			}
			if _, err := engine.API.ImageInspect(t.Context(), registry.Host+"/private@"+a.Digest); err == nil {
				t.Error("the image is still there after Prune")
			}
		})
	}
}
