package raftstore

import (
	"bufio"
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"time"

	"github.com/hashicorp/raft"

	"github.com/instarhq/instar/core"
	"github.com/instarhq/instar/core/audit"
	"github.com/instarhq/instar/raftstore/fsm"
)

// A snapshot file is a line of text, a line of JSON (SnapshotInfo without Digest), Bytes bytes of the
// state file, and a line "sha256:…" over all of that.
const (
	snapshotMagic  = "instar snapshot 1\n"
	maxHeaderBytes = 64 << 10
)

// SnapshotInfo says what a snapshot has in it.
type SnapshotInfo struct {
	Head   core.TreeHead `json:"head"`
	Bytes  int64         `json:"bytes"`            // of the state file in it
	Digest core.Digest   `json:"digest,omitempty"` // of the snapshot file up to its last line, which has it
}

// Snapshot writes a file from which Restore makes the whole store again: every object, every record. The
// store goes on meanwhile; the snapshot is of the moment of the call.
func (s *Store) Snapshot(ctx context.Context, w io.Writer) (SnapshotInfo, error) {
	var info SnapshotInfo
	sum := sha256.New()
	out := &interruptible{ctx, io.MultiWriter(w, sum)}
	err := s.machine.WriteTo(out, func(position fsm.Position, _ []byte, identity fsm.Identity, size int64) error {
		info.Head = core.TreeHead{Origin: identity.Origin(), Size: position.Seq, Root: position.Root}
		info.Bytes = size
		header, err := json.Marshal(info)
		if err != nil {
			return err
		}
		_, err = fmt.Fprintf(out, "%s%s\n", snapshotMagic, header)
		return err
	})
	if ctx.Err() != nil {
		return info, fmt.Errorf("snapshot: %w", ctx.Err()) // bbolt does not wrap it
	}
	if err != nil {
		return info, fmt.Errorf("snapshot: %w", err)
	}
	info.Digest = core.Digest("sha256:" + hex.EncodeToString(sum.Sum(nil)))
	if _, err := fmt.Fprintf(w, "%s\n", info.Digest); err != nil {
		return info, fmt.Errorf("snapshot: %w", err)
	}
	return info, nil
}

// interruptible is a writer that fails when its context has ended.
type interruptible struct {
	ctx context.Context
	w   io.Writer
}

func (i *interruptible) Write(data []byte) (int, error) {
	if err := i.ctx.Err(); err != nil {
		return 0, err
	}
	return i.w.Write(data)
}

// Restore replaces the store's content by that of a snapshot, on the leader; in a cluster the others
// follow. The snapshot must be of the same cluster, unless this store is empty. The cluster's id stays
// that of the snapshot and the generation grows, so that the log goes on under a new origin; the first
// record under it has a core.Lineage and what is given besides, with meta as its author and reason; it is what
// the receipt is for. A snapshot that does not verify, whole, is CodeCorrupt and changes nothing.
func (s *Store) Restore(ctx context.Context, r io.Reader, meta core.Meta, besides ...core.Op) (core.Receipt, error) {
	if !s.IsLeader() {
		return core.Receipt{}, s.notLeader()
	}
	incoming, digest, err := s.receive(ctx, r)
	if err != nil {
		return core.Receipt{}, err
	}
	defer incoming.Remove() //nolint:errcheck // the next one replaces it
	identity, err := s.identityAfter(incoming)
	if err != nil {
		return core.Receipt{}, err
	}
	err = incoming.Rename(identity, func(old core.TreeHead, lastTime int64) ([]byte, error) {
		return s.lineage(identity, old, digest, lastTime, meta, besides)
	})
	if err != nil {
		return core.Receipt{}, err
	}
	if err := s.install(incoming); err != nil {
		return core.Receipt{}, err
	}
	return s.lineageReceipt(ctx, identity)
}

// receive reads a snapshot file into the data directory and verifies it.
func (s *Store) receive(ctx context.Context, r io.Reader) (*fsm.Incoming, core.Digest, error) {
	in := bufio.NewReaderSize(r, maxHeaderBytes)
	var info SnapshotInfo
	magic := make([]byte, len(snapshotMagic))
	if _, err := io.ReadFull(in, magic); err != nil || string(magic) != snapshotMagic {
		return nil, "", core.Errorf(core.CodeCorrupt, "this is no snapshot of instar: it does not begin with %q", snapshotMagic[:len(snapshotMagic)-1])
	}
	header, err := in.ReadSlice('\n')
	if err != nil || json.Unmarshal(header, &info) != nil || info.Bytes <= 0 {
		return nil, "", core.Errorf(core.CodeCorrupt, "the snapshot's header is damaged")
	}
	incoming, err := s.machine.NewIncoming("restore")
	if err != nil {
		return nil, "", fmt.Errorf("restore: %w", err)
	}
	sum := sha256.New()
	sum.Write(magic)
	sum.Write(header)
	if _, err := io.CopyN(io.MultiWriter(&interruptible{ctx, incoming}, sum), in, info.Bytes); err != nil {
		if errors.Is(err, io.EOF) {
			err = core.Errorf(core.CodeCorrupt, "the snapshot is cut off")
		}
		return nil, "", errors.Join(fmt.Errorf("restore: %w", err), incoming.Abort())
	}
	digest := core.Digest("sha256:" + hex.EncodeToString(sum.Sum(nil)))
	trailer, err := io.ReadAll(io.LimitReader(in, 256))
	if err != nil || !bytes.Equal(trailer, []byte(digest+"\n")) {
		err := core.Errorf(core.CodeCorrupt, "the snapshot is damaged: its content has the digest %s, its last line says %.80q", digest, trailer)
		return nil, "", errors.Join(err, incoming.Abort())
	}
	if err := incoming.Verify(); err != nil {
		return nil, "", err
	}
	return incoming, digest, nil
}

// identityAfter decides under which identity the restored log goes on.
func (s *Store) identityAfter(incoming *fsm.Incoming) (fsm.Identity, error) {
	identity, _, err := incoming.Head()
	if err != nil {
		return identity, err
	}
	if identity.ID == "" {
		return identity, core.Errorf(core.CodeInvalid, "the snapshot is of a store that never belonged to a cluster")
	}
	now := s.machine.Identity()
	if now.ID != identity.ID && s.Seq() > 0 {
		return identity, core.Errorf(core.CodeConflict, "the snapshot is of cluster %s/%s, this store is of %s/%s and has %d records",
			identity.Cluster, identity.ID, now.Cluster, now.ID, s.Seq()).
			WithHint("restore it into an empty data directory")
	}
	if now.ID == identity.ID {
		identity.Generation = max(identity.Generation, now.Generation)
	}
	identity.Generation++
	return identity, nil
}

// lineage makes the record that a restored log goes on with.
func (s *Store) lineage(identity fsm.Identity, old core.TreeHead, digest core.Digest, lastTime int64, meta core.Meta, besides []core.Op) ([]byte, error) {
	value, err := json.Marshal(core.Lineage{Format: core.Format, Origin: identity.Origin(), Previous: old, Snapshot: digest})
	if err != nil {
		return nil, err
	}
	meta.Time = notBefore(s.config.Now(), lastTime)
	if meta.Origin == "" {
		meta.Origin = s.config.Node
	}
	ops := append([]core.Op{{Kind: core.KindLineage, ID: identity.Origin(), Value: value}}, besides...)
	txn := core.Txn{Meta: meta, Ops: ops}
	if err := audit.Check(&txn); err != nil {
		return nil, err
	}
	return audit.Encode(txn)
}

// install hands the prepared file to Raft, which puts it in place here and on the others.
func (s *Store) install(incoming *fsm.Incoming) error {
	file, err := os.Open(incoming.Path())
	if err != nil {
		return err
	}
	defer file.Close() //nolint:errcheck // only read
	stat, err := file.Stat()
	if err != nil {
		return err
	}
	// What waits was stamped before the lineage record, behind which it would be committed.
	busy := core.Errorf(core.CodeUnavailable, "node %q is being restored", s.config.Node)
	busy.RetryAfter = time.Second
	s.queue.pause(busy)
	defer func() { s.queue.resume(s.machine.Position().Time) }()
	meta := &raft.SnapshotMeta{Version: raft.SnapshotVersionMax, Size: stat.Size()}
	if err := s.raft.Restore(meta, file, 0); err != nil {
		return core.Errorf(core.CodeTimeout, "restore: it is not known whether the snapshot is in place: %w", err).
			WithHint("look at the store's origin: a restored store has a higher generation")
	}
	return nil
}

// lineageReceipt is the receipt for the record that the restore has appended.
func (s *Store) lineageReceipt(ctx context.Context, identity fsm.Identity) (core.Receipt, error) {
	object, err := s.Get(ctx, core.KindLineage, identity.Origin(), 0)
	if err != nil {
		return core.Receipt{}, err
	}
	record, err := s.Record(ctx, object.Seq)
	return core.Receipt{Origin: identity.Origin(), Seq: object.Seq, LeafHash: record.LeafHash}, err
}
