package main

import (
	"context"
	"sync"

	"github.com/hashicorp/go-hclog"
	"github.com/zclconf/go-cty/cty"

	"github.com/instarhq/instar/sdk"
	"github.com/instarhq/instar/sdk/serve"
)

// driver serves one target.
type driver struct {
	log hclog.Logger

	mu       sync.Mutex // one change at a time: nothing that is done under it takes long
	bind     string     // the address that instances listen on
	store    store
	sites    map[string]*site // running instances, by id
	watchers map[*watcher]struct{}
}

var _ sdk.Compute = (*driver)(nil)

// targetSchema is what an operator writes in the target block.
var targetSchema = sdk.Schema{
	{Name: "bind", Type: cty.String, Default: cty.StringVal("127.0.0.1"), Doc: "Address that the instances listen on."},
}

// workloadSchema is what an operator writes in a service's compute block.
var workloadSchema = sdk.Schema{
	{Name: "index", Type: cty.String, Default: cty.StringVal("index.html"), Doc: "File that is shown for a directory."},
	{Name: "headers", Type: cty.Map(cty.String), Doc: "Headers of every answer; values may hold placeholders."},
}

// workload is a compute block, decoded.
type workload struct {
	Index   string            `json:"index"`
	Headers map[string]string `json:"headers"`
}

// Describe needs no configuration: instard calls it on a process of no target.
func (d *driver) Describe(context.Context) (sdk.Description, error) {
	return sdk.Description{
		Name: "static", Version: "0.1.0", Kind: sdk.KindCompute, Scope: sdk.ScopeNode,
		Doc:    "Each instance is a web server that hands out the files of its artifact, a directory.",
		Target: targetSchema, Workload: workloadSchema,
		// No capabilities: there are no logs and no usage of a single instance.
	}, nil
}

// Configure binds the process to a target, and brings back the instances of the process before this one.
func (d *driver) Configure(_ context.Context, req sdk.ConfigureRequest) error {
	var config struct {
		Bind string `json:"bind"`
	}
	if err := sdk.Decode(targetSchema, req.Config, &config); err != nil {
		return err
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.sites == nil { // the first call in this process
		st, err := openStore(req.StateDir)
		if err != nil {
			return err
		}
		d.log, d.store = serve.Logger("static"), st
		d.sites, d.watchers = map[string]*site{}, map[*watcher]struct{}{}
	}
	d.bind = config.Bind
	if err := d.store.raiseGeneration(req.Generation); err != nil {
		return err
	}
	return d.restore()
}

// restore starts the sites that should run and do not. d.mu must be held.
func (d *driver) restore() error {
	for _, r := range d.store.records {
		if r.Destroyed || r.Exit != nil || d.sites[r.Spec.ID] != nil {
			continue
		}
		s, err := d.start(r)
		if err != nil { // its port was taken meanwhile: that is how this instance ends
			d.log.Error("instance cannot go on", "instance", r.Spec.ID, "error", err)
			if err := d.exited(r, err); err != nil {
				return err
			}
			continue
		}
		d.sites[r.Spec.ID] = s
	}
	return nil
}

// Probe reports at once, and would report again if anything changed.
func (d *driver) Probe(ctx context.Context, report func(sdk.Health) error) error {
	if err := report(sdk.Health{Healthy: true}); err != nil {
		return err
	}
	<-ctx.Done()
	return ctx.Err()
}

// Close puts down the listeners before the process ends, so that the next one finds the ports free.
func (d *driver) Close(context.Context) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	for _, s := range d.sites {
		s.close()
	}
	return nil
}
