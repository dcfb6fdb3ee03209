package e2e

import (
	"context"
	"errors"
	"io"
	"maps"
	"os"
	"strings"
	"testing"

	"github.com/moby/moby/api/types/container"
	mobyclient "github.com/moby/moby/client"

	"github.com/instarhq/instar/e2e/judge"
	"github.com/instarhq/instar/plugins/compute/docker/dockertest"
)

// TestDockerDriftIsReplaced changes containers by hand; an instance that nobody has touched takes the place of each.
func TestDockerDriftIsReplaced(t *testing.T) {
	t.Parallel()
	c := newDockerCluster(t)
	c.image = c.shopWithShell()
	c.must(c.args(0, "read_only=false")...)
	for what, change := range map[string]func(id string) error{
		"docker update": func(id string) error {
			_, err := c.engine.API.ContainerUpdate(t.Context(), id, mobyclient.ContainerUpdateOptions{Resources: &container.Resources{CPUShares: 77}})
			return err
		},
		"docker exec": func(id string) error {
			return c.exec(id, "sh", "-c", "echo intruder:x:0:0::/:/bin/sh >>/etc/passwd")
		},
	} {
		before := c.serving()
		list := c.containers()
		if len(list) != 2 {
			t.Fatalf("%d containers before %s, want 2", len(list), what)
		}
		changed := list[0].Labels["instar.instance"]
		if err := change(list[0].ID); err != nil {
			t.Fatalf("%s: %v", what, err)
		}
		c.await("the instance that was changed by "+what+" is replaced", func() bool {
			now := c.serving()
			_, there := now[changed]
			return !there && len(now) == 2
		})
		kept := 0
		for id := range c.serving() {
			if _, was := before[id]; was {
				kept++
			}
		}
		if kept != 1 {
			t.Errorf("%d of the instances before %s are left, want the one that nobody touched", kept, what)
		}
		c.settled(what)
	}
}

// TestDockerOrphansAreRemoved: while instard is dead nothing changes for customers (I9), and a container of its cluster comes to
// be that no record knows. It is gone when instard has been back for a while, and nobody else's container is.
func TestDockerOrphansAreRemoved(t *testing.T) {
	t.Parallel()
	c := newDockerCluster(t)
	c.must(c.args(0)...)
	customers := c.customers(0.3)
	if err := c.node.Kill(); err != nil {
		t.Fatal(err)
	}
	instance := c.containers()[0]
	name, id := strings.TrimPrefix(instance.Names[0], "/"), instance.Labels["instar.instance"]
	labels := func(changes map[string]string) map[string]string {
		all := maps.Clone(instance.Labels)
		maps.Copy(all, changes)
		return all
	}
	orphan := c.run(strings.Replace(name, id, "shop-orphan", 1), labels(map[string]string{"instar.instance": "shop-orphan"}))
	others := []string{
		c.run("mine", nil),
		c.run("copied", labels(nil)), // as an image that was committed from an instance has them
		c.run("instar-shop-other-00000000", labels(map[string]string{"instar.instance": "shop-other", "instar.cluster": "another"})),
	}
	from, _ := customers.Count()
	c.await("100 customers were served without a control plane", func() bool {
		now, _ := customers.Count()
		return now >= from+100
	})
	if err := c.node.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	running := func(id string) bool {
		got, err := c.engine.API.ContainerInspect(t.Context(), id, mobyclient.ContainerInspectOptions{})
		return err == nil && got.Container.State.Running
	}
	c.await("the orphan is gone", func() bool { return !running(orphan) })
	for _, other := range others {
		if !running(other) {
			t.Errorf("container %s is nobody's business and has ended", other)
		}
		if _, err := c.engine.API.ContainerRemove(t.Context(), other, mobyclient.ContainerRemoveOptions{Force: true}); err != nil {
			t.Error(err)
		}
	}
	if _, there := c.serving()[id]; !there {
		t.Errorf("instance %s did not live on", id)
	}
	c.starts.forget("", id) // of which this test has started containers
	c.settled("instard came back")
	c.satisfied(customers.Stop())
	c.hold(judge.Enough)
	c.hold(judge.All)
}

func (c *dockerCluster) containers() []container.Summary {
	c.Helper()
	list, err := c.engine.API.ContainerList(c.Context(), mobyclient.ContainerListOptions{})
	if err != nil {
		c.Fatal(err)
	}
	return list.Items
}

// run starts a container of the shop's image past instar.
func (c *dockerCluster) run(name string, labels map[string]string) string {
	c.Helper()
	made, err := c.engine.API.ContainerCreate(c.Context(), mobyclient.ContainerCreateOptions{
		Name: name, Config: &container.Config{Image: c.image, Cmd: []string{"-listen", ":8080"}, Labels: labels},
	})
	if err != nil {
		c.Fatal(err)
	}
	if _, err := c.engine.API.ContainerStart(c.Context(), made.ID, mobyclient.ContainerStartOptions{}); err != nil {
		c.Fatal(err)
	}
	return made.ID
}

// exec runs a command in a container as root, and returns when it has ended.
func (c *dockerCluster) exec(id string, command ...string) error {
	ctx, cancel := context.WithCancel(c.Context())
	defer cancel()
	made, err := c.engine.API.ExecCreate(ctx, id, mobyclient.ExecCreateOptions{User: "0", Cmd: command, AttachStdout: true, AttachStderr: true})
	if err != nil {
		return err
	}
	attached, err := c.engine.API.ExecAttach(ctx, made.ID, mobyclient.ExecAttachOptions{})
	if err != nil {
		return err
	}
	defer attached.Close()
	said, err := io.ReadAll(attached.Reader)
	if err == nil && len(said) > 0 {
		err = errors.New(string(said))
	}
	return err
}

// shopWithShell makes an image of the shop with a shell in it, for who wants to come in.
func (c *dockerCluster) shopWithShell() string {
	c.Helper()
	shop, err := os.ReadFile(c.program)
	if err != nil {
		c.Fatal(err)
	}
	const name = "instar/shop-shell:1"
	if _, err := c.engine.Busybox(c.Context(), name, []dockertest.File{{Path: "shop", Data: shop, Mode: 0o755}}, `ENTRYPOINT ["/shop"]`); err != nil {
		c.Fatal(err)
	}
	return name
}
