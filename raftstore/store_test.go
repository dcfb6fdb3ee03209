package raftstore

import (
	"context"
	"testing"
	"time"

	"github.com/instarhq/instar/core"
	"github.com/instarhq/instar/core/coretest"
)

func openStore(t testing.TB, config Config) *Store {
	t.Helper()
	if config.Node == "" {
		config.Node = "n1"
	}
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	defer cancel()
	s, err := Open(ctx, config)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Errorf("close: %v", err)
		}
	})
	return s
}

func TestConformance(t *testing.T) {
	coretest.Run(t, func(t *testing.T) core.Store { return openStore(t, Config{Dir: t.TempDir()}) })
}
