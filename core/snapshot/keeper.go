package snapshot

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"time"

	"github.com/hashicorp/go-hclog"

	"github.com/instarhq/instar/core"
	"github.com/instarhq/instar/core/audit"
	"github.com/instarhq/instar/core/snapshot/container"
)

// Scratch restores a state into an empty directory, as a new cluster would, and says what came out.
type Scratch func(ctx context.Context, dir string, state io.Reader) (services int, head core.TreeHead, err error)

// Keeper saves, lists, checks and prunes snapshots in directories and buckets.
type Keeper struct {
	Maker   Maker
	Scratch Scratch
	Logger  hclog.Logger
	// Patience is how long an S3 server may be silent before a request is given up and tried again; 0: a minute.
	Patience time.Duration
}

func (k *Keeper) open(ctx context.Context, address string) (*Bucket, error) {
	return openBucket(ctx, address, cmp.Or(k.Patience, patience))
}

// Save makes a snapshot and puts it at address. progress may be nil.
func (k *Keeper) Save(ctx context.Context, address string, withArtifacts bool, progress func(string)) (core.SnapshotFile, core.Manifest, error) {
	bucket, err := k.open(ctx, address)
	if err != nil {
		return core.SnapshotFile{}, core.Manifest{}, err
	}
	defer func() { _ = bucket.Close() }() // nothing is buffered in it
	spool, err := os.CreateTemp(k.Maker.TempDir, "snapshot-*.instar")
	if errors.Is(err, os.ErrNotExist) {
		if err = os.MkdirAll(k.Maker.TempDir, 0o700); err == nil {
			spool, err = os.CreateTemp(k.Maker.TempDir, "snapshot-*.instar")
		}
	}
	if err != nil {
		return core.SnapshotFile{}, core.Manifest{}, fmt.Errorf("snapshot: %w", err)
	}
	defer func() { _ = os.Remove(spool.Name()) }()
	defer func() { _ = spool.Close() }() // read from, at the end
	// The name says what is in the file, so the file has to be there before it has a name.
	manifest, err := k.Maker.Write(ctx, spool, withArtifacts, progress)
	if err != nil {
		return core.SnapshotFile{}, manifest, err
	}
	size, err := spool.Seek(0, io.SeekCurrent)
	if err == nil {
		_, err = spool.Seek(0, io.SeekStart)
	}
	if err != nil {
		return core.SnapshotFile{}, manifest, fmt.Errorf("snapshot: %w", err)
	}
	file := core.SnapshotFile{Name: Name(&manifest), Bytes: size, Time: manifest.Created.Truncate(time.Second), Seq: manifest.Head.Size}
	err = bucket.Put(ctx, file.Name, func(w io.Writer) error {
		_, err := io.Copy(w, spool)
		return err
	})
	return file, manifest, err
}

// List gives the snapshots of a cluster at address, newest first; of all clusters if cluster is empty.
func (k *Keeper) List(ctx context.Context, address, cluster string) ([]core.SnapshotFile, error) {
	bucket, err := k.open(ctx, address)
	if err != nil {
		return nil, err
	}
	defer func() { _ = bucket.Close() }()
	return bucket.List(ctx, cluster)
}

// Prune deletes what the retention lets go of and gives it.
func (k *Keeper) Prune(ctx context.Context, address, cluster string, keep int, keepFor time.Duration) ([]core.SnapshotFile, error) {
	if cluster == "" || (keep <= 0 && keepFor <= 0) {
		return nil, core.Errorf(core.CodeInvalid, "nothing says which snapshots to keep").
			WithHint("give -keep N, -keep-for DURATION, or both")
	}
	bucket, err := k.open(ctx, address)
	if err != nil {
		return nil, err
	}
	defer func() { _ = bucket.Close() }()
	files, err := bucket.List(ctx, cluster)
	if err != nil {
		return nil, err
	}
	expired := Expired(files, keep, keepFor, k.Maker.Now())
	for i, f := range expired {
		if err := bucket.Delete(ctx, f.Name); err != nil {
			return expired[:i], err
		}
	}
	return expired, nil
}

// OpenFile opens a snapshot at the address of a file.
func OpenFile(ctx context.Context, address string) (io.ReadCloser, error) {
	place, name, err := Locate(address)
	if err != nil {
		return nil, err
	}
	bucket, err := OpenBucket(ctx, place)
	if err != nil {
		return nil, err
	}
	file, err := bucket.Get(ctx, name)
	if err != nil {
		return nil, errors.Join(err, bucket.Close())
	}
	return &bucketFile{file, bucket}, nil
}

type bucketFile struct {
	io.ReadCloser
	bucket *Bucket
}

func (f *bucketFile) Close() error { return errors.Join(f.ReadCloser.Close(), f.bucket.Close()) }

// Verify reads a snapshot to its end. With deep it is also restored into a scratch directory, which
// checks every record, the tree over them, and every object.
func (k *Keeper) Verify(ctx context.Context, r io.Reader, trust audit.Trust, deep bool) (core.SnapshotReport, error) {
	began := k.Maker.Now()
	snapshot, err := container.Open(r, trust)
	if err != nil {
		return core.SnapshotReport{}, err
	}
	defer snapshot.Close()
	report := core.SnapshotReport{Manifest: snapshot.Manifest, SignedBy: snapshot.SignedBy, Records: snapshot.Manifest.Head.Size}
	if deep {
		if err := k.restore(ctx, snapshot, &report); err != nil {
			return report, err
		}
		report.Took = core.Duration(k.Maker.Now().Sub(began).Round(time.Millisecond))
	}
	if err := snapshot.Verify(); err != nil {
		return report, err
	}
	if !deep {
		report.Took = core.Duration(k.Maker.Now().Sub(began).Round(time.Millisecond))
	}
	return report, nil
}

func (k *Keeper) restore(ctx context.Context, snapshot *container.Reader, report *core.SnapshotReport) error {
	if err := os.MkdirAll(k.Maker.TempDir, 0o700); err != nil {
		return fmt.Errorf("drill: %w", err)
	}
	dir, err := os.MkdirTemp(k.Maker.TempDir, "drill-")
	if err != nil {
		return fmt.Errorf("drill: %w", err)
	}
	defer func() { _ = os.RemoveAll(dir) }()
	state, err := snapshot.State()
	if err != nil {
		return err
	}
	services, head, err := k.Scratch(ctx, dir, state)
	if err != nil {
		return err
	}
	if head != snapshot.Manifest.Head {
		return core.Errorf(core.CodeCorrupt, "the restored state has the tree head %s at %d, the manifest says %s at %d",
			head.Root, head.Size, snapshot.Manifest.Head.Root, snapshot.Manifest.Head.Size)
	}
	report.Services, report.Restored = services, true
	return nil
}

// Drill restores the newest snapshot at address into a scratch directory and reports.
func (k *Keeper) Drill(ctx context.Context, address, cluster string, trust audit.Trust) (core.SnapshotFile, core.SnapshotReport, error) {
	bucket, err := k.open(ctx, address)
	if err != nil {
		return core.SnapshotFile{}, core.SnapshotReport{}, err
	}
	defer func() { _ = bucket.Close() }()
	files, err := bucket.List(ctx, cluster)
	if err != nil {
		return core.SnapshotFile{}, core.SnapshotReport{}, err
	}
	if len(files) == 0 {
		return core.SnapshotFile{}, core.SnapshotReport{}, core.Errorf(core.CodeNotFound, "there is no snapshot of cluster %q in %s", cluster, bucket.url).
			WithHint("make one: instar snapshot save -to %s", bucket.url)
	}
	file, err := bucket.Get(ctx, files[0].Name)
	if err != nil {
		return files[0], core.SnapshotReport{}, err
	}
	defer func() { _ = file.Close() }()
	report, err := k.Verify(ctx, file, trust, true)
	return files[0], report, err
}
