package docker

import (
	"context"
	"time"

	"github.com/hashicorp/go-hclog"
	"github.com/moby/moby/api/types/events"
)

// SetCrash sets what is called between the steps of Create and Destroy.
func SetCrash(f func(step string)) { crash = f }

// Entry is what an event tells of somebody who is in a container.
func Entry(m events.Message) (entered time.Time, copied bool) { return entry(m) }

// Behind runs the work of a call to a target of its own.
func Behind(ctx context.Context, work func() (int, error)) (int, error) {
	return behind(ctx, &target{logger: hclog.NewNullLogger()}, work)
}
