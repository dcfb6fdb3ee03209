package sdktest_test

import (
	"bytes"
	"context"
	"errors"
	"os"
	"path"
	"slices"
	"strings"
	"time"

	"github.com/instarhq/instar/sdk"
)

// behaviourOf is what a workload's configuration asks for.
func (d *soundCompute) behaviourOf(spec sdk.InstanceSpec) (string, error) {
	if err := d.lab.decode(instanceSchema, spec.Config); err != nil {
		return "", err
	}
	var config struct {
		Behaviour string `json:"behaviour"`
	}
	_ = sdk.Decode(instanceSchema, spec.Config, &config) // a driver with a fault may have let it pass
	return config.Behaviour, nil
}

// check refuses what cannot be, and gives the environment with its placeholders replaced.
func (d *soundCompute) check(spec sdk.InstanceSpec) (map[string]string, error) {
	if spec.ID == "" {
		if d.is("panics on empty input") {
			panic("no such luck")
		}
		return nil, sdk.InvalidConfig("id", "an instance needs an id")
	}
	if d.is("refuses long ids") && len(spec.ID) > 60 {
		return nil, sdk.InvalidConfig("id", "it is too long")
	}
	for _, m := range spec.Mounts {
		if clean := path.Clean("/" + m.Path); (m.Path == "" || clean != "/"+m.Path) && !d.is("a mount may be anywhere") {
			return nil, sdk.InvalidConfig("mount", "path %q leaves the instance", m.Path)
		}
	}
	ports := map[string]int{}
	for n, p := range spec.Ports {
		ports[p.Name] = 1000 + n
	}
	env := map[string]string{}
	for name, value := range spec.Env {
		expanded, err := sdk.Expand(value, ports, spec.ID)
		if err != nil && !d.is("passes unknown placeholders on") {
			return nil, sdk.InvalidConfig("env."+name, "%w", err)
		}
		switch d.fault {
		case "mangles unicode":
			expanded = strings.Map(func(c rune) rune { return c & 0xff }, expanded)
		case "truncates at a limit":
			expanded = expanded[:min(len(expanded), 64<<10)]
		case "does not replace placeholders":
			expanded = value
		}
		if d.is("refuses what is not ASCII") && strings.ContainsFunc(value, func(c rune) bool { return c > 0x7f }) {
			return nil, sdk.InvalidConfig("env."+name, "it is not ASCII")
		}
		env[name] = expanded
	}
	return env, nil
}

// Create implements sdk.Compute.
func (d *soundCompute) Create(ctx context.Context, spec sdk.InstanceSpec) (sdk.Instance, error) {
	behaviour, err := d.behaviourOf(spec)
	if err != nil && !d.is("makes what it refuses") {
		return sdk.Instance{}, err
	}
	env, wrong := d.check(spec)
	if wrong != nil {
		return sdk.Instance{}, wrong
	}
	if d.is("does not look at its context") && pause(ctx, 100*time.Millisecond) != nil {
		_ = pause(context.Background(), 2*time.Second)
	}
	if !d.is("does not lock") {
		d.work.Lock()
		defer d.work.Unlock()
	}
	if d.buried(spec.ID) {
		return sdk.Instance{}, sdk.Conflict("instance %s was destroyed", spec.ID)
	}
	if err := d.call(ctx); err != nil && !d.is("does not finish what a cancelled create began") {
		d.interrupted(thing{name: d.name(spec.ID), spec: spec, env: env, labels: labelled(spec)})
		return sdk.Instance{}, err
	}
	if d.is("expands placeholders in mounted files") {
		spec.Mounts = slices.Clone(spec.Mounts)
		for n, m := range spec.Mounts {
			spec.Mounts[n].Data = bytes.ReplaceAll(m.Data, []byte("${instance.id}"), []byte(spec.ID))
		}
	}
	i, refused := d.make(ctx, thing{name: d.name(spec.ID), spec: spec, env: env}, behaviour)
	return i, errors.Join(err, refused)
}

// make finds the instance or makes it.
func (d *soundCompute) make(ctx context.Context, t thing, behaviour string) (sdk.Instance, error) {
	spec := t.spec
	d.mu.Lock()
	d.made[spec.ID]++
	round := d.made[spec.ID]
	d.mu.Unlock()
	found, there := d.world.find(t.name)
	if there && (d.is("creates twice") || d.is("creates twice after a restart") && round == 1 || d.is("creates twice after an outage") && d.lost.Load()) {
		t.name += "-twin" + time.Now().String()
		there = false
	}
	if !there {
		t.labels = labelled(spec)
		if d.is("mangles unicode") {
			t.labels.ID = strings.Map(func(c rune) rune { return c & 0x7f }, spec.ID)
		}
		if d.is("does not lock") {
			t.name += "-" + time.Now().String()
		}
		if err := d.world.put(t); err != nil {
			return sdk.Instance{}, err
		}
	} else if found.spec.RevisionDigest != spec.RevisionDigest && !d.is("an id with another revision succeeds") {
		return sdk.Instance{}, sdk.Conflict("instance %s exists with revision %s", spec.ID, found.spec.RevisionDigest)
	}
	if d.is("does not finish what a cancelled create began") && there {
		return d.read(found), nil
	}
	if d.is("an exited instance is started again") && found.exit != nil {
		d.world.remove(t.name)
		_ = d.world.put(t)
	}
	return d.start(ctx, t, behaviour)
}

func labelled(spec sdk.InstanceSpec) sdk.Instance {
	return sdk.Instance{
		ID: spec.ID, Cluster: spec.Cluster, Generation: spec.Generation, Service: spec.Service,
		Revision: spec.Revision, RevisionDigest: spec.RevisionDigest,
	}
}

// interrupted is what some drivers do when a Create is cancelled, at whatever moment of it.
func (d *soundCompute) interrupted(t thing) {
	switch d.fault {
	case "goes on behind a cancelled create":
		d.late.Store(t.spec.ID, t) // it comes when the instance was destroyed
	case "leaks on a cancelled create":
		d.world.remove(t.name)
		t.name += "-left"
		_ = d.world.put(t)
	}
}

// start lets an instance run that was made. One that cannot run leaves nothing; a cancelled or killed call leaves one
// that does not run yet, and the next Create goes on with it.
func (d *soundCompute) start(ctx context.Context, t thing, behaviour string) (sdk.Instance, error) {
	if d.is("running too early") {
		go func() {
			_ = pause(context.Background(), 50*time.Millisecond)
			_ = d.world.start(t.name, behaviour)
		}()
		i := d.read(t)
		i.State, i.Created = sdk.StateRunning, time.Now()
		return i, nil
	}
	if err := d.call(ctx); err != nil {
		d.interrupted(t)
		return sdk.Instance{}, err
	}
	if err := d.world.start(t.name, behaviour); err != nil {
		if !d.is("leaks on a failed create") {
			d.world.remove(t.name)
		}
		if d.is("repeats the environment in an error") {
			return sdk.Instance{}, sdk.InvalidConfig("behaviour", "cannot start with %v", t.env)
		}
		return sdk.Instance{}, err
	}
	made, ok := d.world.find(t.name)
	if !ok {
		return sdk.Instance{}, sdk.Conflict("instance %s was destroyed", t.spec.ID)
	}
	d.lab.leak(d.dir, t.spec.ID)
	if d.is("keeps what it was given") {
		_ = os.WriteFile(d.tombstone("env of "+t.spec.ID), []byte(t.env["CONFORMANCE"]), 0o600)
	}
	return d.read(made), nil
}

// Destroy implements sdk.Compute.
func (d *soundCompute) Destroy(ctx context.Context, id string, grace time.Duration) error {
	if id == "" {
		return nil
	}
	d.work.Lock()
	defer d.work.Unlock()
	defer func() {
		if late, ok := d.late.LoadAndDelete(id); ok {
			_ = d.world.put(late.(thing))
		}
	}()
	if err := d.call(ctx); err != nil {
		if d.is("says yes without the backend") {
			return nil
		}
		return err
	}
	name := d.name(id)
	if d.is("destroys another cluster's instance") {
		for _, t := range d.world.of("*") {
			if t.spec.ID == id {
				name = t.name
			}
		}
	}
	t, ok := d.world.find(name)
	if !ok {
		if d.is("destroy is not idempotent") {
			return sdk.NotFound("there is no instance %s", id)
		}
		return nil
	}
	behaviour, _ := d.behaviourOf(t.spec)
	if d.is("destroy waits for a stubborn instance") && behaviour == "stubborn" {
		grace = time.Hour
	}
	if d.is("destroy does not heed its context") {
		ctx = context.WithoutCancel(ctx)
	}
	if d.is("kills at once") {
		grace = 0
	}
	if err := d.world.stop(ctx, behaviour, grace); err != nil {
		return err
	}
	if d.dead.Load() {
		return errKilled
	}
	if d.is("destroys all") {
		for _, other := range d.world.of(d.cluster) {
			d.world.remove(other.name)
		}
	}
	// The tombstone first: after a crash in between, a late Create must not make it again.
	if err := os.WriteFile(d.tombstone(id), nil, 0o600); err != nil {
		return err
	}
	if d.is("destroy leaves it there") {
		return nil
	}
	d.world.remove(name)
	return nil
}
