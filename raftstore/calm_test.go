package raftstore

import (
	"bytes"
	"errors"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/hashicorp/go-hclog"
)

// TestRaftIsCalm lets one member be away for five minutes and another for a moment.
func TestRaftIsCalm(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var out bytes.Buffer
		log := calm(hclog.New(&hclog.LoggerOptions{Output: &out, DisableTime: true}))
		for i := range 5 * 60 * 4 {
			log.Error("failed to heartbeat to", "peer", "n2", "error", errors.New("refused"))
			if i == 100 {
				log.Error("failed to heartbeat to", "peer", "n3", "error", errors.New("refused"))
				log.Warn("something else")
			}
			log.Info("told every time")
			time.Sleep(250 * time.Millisecond) //nolint:forbidigo // in the bubble
		}
		for text, want := range map[string]int{
			"peer=n2": 5, "peer=n3": 1, "again=239": 4, "something else": 1, "told every time": 1200,
		} {
			if got := strings.Count(out.String(), text); got != want {
				t.Errorf("%q is told %d times, want %d", text, got, want)
			}
		}
	})
}
