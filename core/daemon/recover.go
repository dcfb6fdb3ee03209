package daemon

import (
	"context"
	"time"

	"github.com/hashicorp/go-hclog"

	"github.com/instarhq/instar/core"
	"github.com/instarhq/instar/core/cluster"
	"github.com/instarhq/instar/raftstore"
)

// Recovered is what came of a recovery from a lost quorum.
type Recovered struct {
	Node      string
	Receipt   core.Receipt
	Previous  core.TreeHead // of the log that goes on under a new generation
	Former    []string      // members that are none any more
	Uncertain uint64        // entries that were kept although nobody may have been told that they were committed
}

// Recover makes the node of a data directory, which no daemon uses, the only voter of its cluster: most of
// the others are lost for good. See raftstore.Recover; the others join again, with empty directories.
func Recover(ctx context.Context, dataDir string, meta core.Meta, logger hclog.Logger) (out Recovered, err error) {
	dir, err := openDataDir(dataDir, false)
	if err != nil {
		return out, err
	}
	defer func() { _ = dir.close() }() // only the lock
	record, err := cluster.LoadRecord(dataDir)
	if err != nil {
		return out, err
	}
	if record == nil || record.Phase != cluster.PhaseMember {
		return out, core.Errorf(core.CodeConflict, "%s is not a member's of a cluster of several nodes", dataDir).
			WithHint("recover is for clusters that have lost most of their voters; on one node there is nothing to recover")
	}
	recovered, err := raftstore.Recover(ctx, raftstore.RecoverConfig{
		Dir: dir.file("store"), Node: record.Node, Address: record.Node, Meta: meta, Logger: logger,
		Also: func(ctx context.Context, r core.Reader) ([]core.Op, error) {
			return cluster.Survivor(ctx, r, record.Node, time.Now())
		},
	})
	if err != nil {
		return out, err
	}
	return Recovered{
		Node: record.Node, Receipt: recovered.Receipt, Previous: recovered.Previous, Former: recovered.Former, Uncertain: recovered.Uncertain,
	}, nil
}
