package main

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"time"

	"github.com/instarhq/instar/sdk"
)

// Create is idempotent across all nodes: what there is under the id is the answer, whoever made it.
//
// While a test has the file "hold" in the folder, the first Create makes its instance and does not answer, and
// the others make nothing: what a daemon that dies just then leaves behind.
func (d *driver) Create(ctx context.Context, spec sdk.InstanceSpec) (sdk.Instance, error) {
	if !fits(spec.ID) || len(spec.Ports) != 1 {
		return sdk.Instance{}, sdk.InvalidConfig("", "instance %q: its id must do as a file's name, and it must have one port", spec.ID)
	}
	if err := d.account.note(askedCreate, spec.ID); err != nil {
		return sdk.Instance{}, err
	}
	for {
		inst, held, err := d.createOnce(ctx, &spec)
		if err != nil || !held {
			return inst, err
		}
		if err := pause(ctx); err != nil {
			return sdk.Instance{}, err
		}
	}
}

// createOnce makes the instance unless it is there; held: come again.
func (d *driver) createOnce(ctx context.Context, spec *sdk.InstanceSpec) (inst sdk.Instance, held bool, err error) {
	err = d.account.alone(func() error {
		if err := ctx.Err(); err != nil {
			return err // whoever asked does not wait any more
		}
		hold, err := os.ReadFile(d.account.path("hold"))
		held = err == nil
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
		r, err := d.account.read(spec.ID)
		switch {
		case sdk.CodeOf(err) == sdk.CodeNotFound:
			if held && len(hold) > 0 {
				return nil
			}
			if r, err = d.make(spec); err != nil {
				return err
			}
			if held {
				return d.account.replace("hold", spec.ID)
			}
		case err != nil:
			return err
		case r.Destroyed:
			return sdk.Conflict("instance %s was destroyed", spec.ID)
		case r.Spec.RevisionDigest != spec.RevisionDigest:
			return sdk.Conflict("instance %s exists with revision %s", spec.ID, r.Spec.RevisionDigest)
		}
		inst, err = d.account.instance(r)
		return err
	})
	return inst, held, err
}

// make makes the instance; the folder is this driver's alone meanwhile.
func (d *driver) make(spec *sdk.InstanceSpec) (*record, error) {
	r := &record{Spec: *spec, Created: time.Now().UTC(), Address: addressOf(spec.ID)}
	var err error
	if r.Pid, err = d.account.start(spec, r.Address); err != nil {
		return nil, err
	}
	if err := d.account.write(r); err != nil {
		return nil, err
	}
	return r, d.account.note(made, spec.ID)
}
