package docker

import (
	"time"

	"github.com/moby/moby/api/types/events"
)

// SetCrash sets what is called between the steps of Create and Destroy.
func SetCrash(f func(step string)) { crash = f }

// Entry is what an event tells of somebody who is in a container.
func Entry(m events.Message) (entered time.Time, copied bool) { return entry(m) }
