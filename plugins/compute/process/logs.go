package process

import (
	"context"
	"errors"

	"github.com/instarhq/instar/plugins/compute/process/logfile"
	"github.com/instarhq/instar/sdk"
)

// Logs implements sdk.Compute.
func (d *Driver) Logs(ctx context.Context, id string, opts sdk.LogOptions, line func(sdk.LogLine) error) error {
	t, err := d.bound()
	if err != nil {
		return err
	}
	i, err := t.find(id)
	if err != nil {
		return err
	}
	more := func() bool {
		_, exit := i.status()
		return exit == nil
	}
	err = t.logs.Read(ctx, id, opts, more, line)
	if errors.Is(err, logfile.ErrGone) {
		return sdk.NotFound("there is no instance %q", id)
	}
	return err
}
