package snapshot

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"gocloud.dev/blob"
	_ "gocloud.dev/blob/azureblob" // azblob://
	_ "gocloud.dev/blob/fileblob"  // file://
	"gocloud.dev/gcerrors"

	"github.com/instarhq/instar/core"
)

// maxListed bounds how many files of a bucket are looked at.
const maxListed = 100_000

// Bucket is where snapshot files are kept.
type Bucket struct {
	url    string // without secrets, for messages
	dir    string // the directory, if it is one of this machine
	bucket *blob.Bucket
}

// OpenBucket opens a directory ("/backup", "file:///backup") or a bucket ("s3://name?region=…&prefix=a/",
// "azblob://name"); a directory is made if it does not exist. Credentials come from where the provider's own tools find them (environment, files, the
// machine's role), never from the address. Close it.
func OpenBucket(ctx context.Context, address string) (*Bucket, error) {
	return openBucket(ctx, address, patience)
}

func openBucket(ctx context.Context, address string, patience time.Duration) (*Bucket, error) {
	target, err := bucketURL(address)
	if err != nil {
		return nil, err
	}
	if err := checkPlace(target); err != nil {
		return nil, err
	}
	var bucket *blob.Bucket
	if target.Scheme == "s3" {
		bucket, err = openS3(ctx, target, patience)
	} else {
		bucket, err = blob.OpenBucket(ctx, target.String())
	}
	if err != nil {
		return nil, core.Errorf(core.CodeInvalid, "%s cannot be opened: %w", target.Redacted(), err).
			WithHint("a directory, s3://bucket?region=…, or azblob://container; see docs/recovery.md")
	}
	b := &Bucket{url: target.Redacted(), bucket: bucket}
	if target.Scheme == "file" {
		b.url, b.dir = target.Path, target.Path
	}
	return b, nil
}

// CheckAddress refuses an address that OpenBucket could not open, without opening it.
func CheckAddress(address string) error {
	target, err := bucketURL(address)
	if err != nil {
		return err
	}
	return checkPlace(target)
}

// checkPlace refuses what a bucket's address would be misread with.
func checkPlace(target *url.URL) error {
	if target.Scheme == "file" {
		return nil
	}
	if target.Host == "" {
		return core.Errorf(core.CodeInvalid, "%q names no bucket", target.Redacted()).WithHint("%s://NAME", target.Scheme)
	}
	if dir := strings.Trim(target.Path, "/"); dir != "" {
		return core.Errorf(core.CodeInvalid, "%q is a file of a bucket, not a place for snapshots", target.Redacted()).
			WithHint("a part of a bucket is given as %s://%s?prefix=%s/", target.Scheme, target.Host, dir)
	}
	return nil
}

func bucketURL(address string) (*url.URL, error) {
	if filepath.IsAbs(address) {
		address = (&url.URL{Scheme: "file", Path: address}).String()
	}
	u, err := url.Parse(address)
	if err != nil || u.Scheme == "" {
		return nil, core.Errorf(core.CodeInvalid, "%q is no place for snapshots", address).
			WithHint("give an absolute directory, s3://bucket?region=…, or azblob://container")
	}
	if u.User != nil {
		return nil, core.Errorf(core.CodeInvalid, "the address of a bucket must not hold a password: addresses are stored and shown").
			WithHint("give instard the credentials in its environment, as the provider's own tools take them")
	}
	switch u.Scheme {
	case "s3", "azblob":
		return u, nil
	case "file":
		if u.Host != "" || !filepath.IsAbs(u.Path) {
			return nil, core.Errorf(core.CodeInvalid, "%q: a directory is written file:///absolute/path", address)
		}
		return localURL(u.Path), nil
	}
	return nil, core.Errorf(core.CodeInvalid, "%q: %s is not supported", address, u.Scheme).
		WithHint("file, s3 (any store that speaks S3, Google's too) and azblob are")
}

// localURL makes files appear whole, without side files, and readable by their owner alone.
func localURL(dir string) *url.URL {
	query := url.Values{"create_dir": {"true"}, "metadata": {"skip"}, "no_tmp_dir": {"true"}, "dir_file_mode": {"0700"}}
	return &url.URL{Scheme: "file", Path: dir, RawQuery: query.Encode()}
}

// Close ends the use of the bucket.
func (b *Bucket) Close() error { return b.bucket.Close() }

// List gives the snapshots of a cluster, newest first; of all clusters if cluster is empty.
func (b *Bucket) List(ctx context.Context, cluster string) ([]core.SnapshotFile, error) {
	var out []core.SnapshotFile
	it := b.bucket.List(&blob.ListOptions{Prefix: cluster})
	for range maxListed {
		object, err := it.Next(ctx)
		if err == io.EOF { //nolint:errorlint // a connection that was cut off is an EOF, too, further down
			break
		}
		if err != nil {
			return nil, b.failed("list", "", err)
		}
		if f, ok := parseName(object.Key, cluster); ok {
			f.Bytes = object.Size
			out = append(out, f)
		}
	}
	slices.SortFunc(out, func(a, c core.SnapshotFile) int {
		if d := c.Time.Compare(a.Time); d != 0 {
			return d
		}
		return strings.Compare(c.Name, a.Name)
	})
	return out, nil
}

// Put writes a file; it appears whole or not at all.
func (b *Bucket) Put(ctx context.Context, name string, write func(io.Writer) error) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	w, err := b.bucket.NewWriter(ctx, name, &blob.WriterOptions{ContentType: "application/octet-stream", DisableContentTypeDetection: true})
	if err != nil {
		return b.failed("write", name, err)
	}
	if err := write(&upload{w, b, name}); err != nil {
		cancel() // what has been written is not kept
		_ = w.Close()
		return err
	}
	if err := w.Close(); err != nil {
		return b.failed("write", name, err)
	}
	if b.dir == "" {
		return nil
	}
	return errors.Join(syncPath(filepath.Join(b.dir, name)), syncPath(b.dir))
}

// upload says to which file of which bucket could not be written further.
type upload struct {
	w      io.Writer
	bucket *Bucket
	name   string
}

func (u *upload) Write(p []byte) (int, error) {
	n, err := u.w.Write(p)
	if err != nil {
		err = u.bucket.failed("write", u.name, err)
	}
	return n, err
}

// syncPath makes a file or a directory durable: on a disk of this machine nobody else does.
func syncPath(path string) error {
	f, err := os.Open(path)
	if err != nil {
		return fmt.Errorf("sync: %w", err)
	}
	err = f.Sync()
	return errors.Join(err, f.Close())
}

// Get opens a file; CodeNotFound if there is none. Close it.
func (b *Bucket) Get(ctx context.Context, name string) (io.ReadCloser, error) {
	r, err := b.bucket.NewReader(ctx, name, nil)
	if err != nil {
		return nil, b.failed("read", name, err)
	}
	return &download{r, b, name}, nil
}

// download says which file of which bucket could not be read further.
type download struct {
	io.ReadCloser
	bucket *Bucket
	name   string
}

func (d *download) Read(p []byte) (int, error) {
	n, err := d.ReadCloser.Read(p)
	if err != nil && err != io.EOF { //nolint:errorlint // only the plain one is the file's end
		err = d.bucket.failed("read", d.name, err)
	}
	return n, err
}

// Delete removes a file; one that is not there is no error.
func (b *Bucket) Delete(ctx context.Context, name string) error {
	if err := b.bucket.Delete(ctx, name); err != nil && gcerrors.Code(err) != gcerrors.NotFound {
		return b.failed("delete", name, err)
	}
	return nil
}

// Locate splits the address of one file into that of its bucket and its name. A path of this machine
// that exists is one, too.
func Locate(address string) (bucket, name string, err error) {
	if info, statErr := os.Stat(address); statErr == nil && !info.IsDir() {
		abs, err := filepath.Abs(address)
		if err != nil {
			return "", "", fmt.Errorf("%s: %w", address, err)
		}
		return filepath.Dir(abs), filepath.Base(abs), nil
	}
	u, err := bucketURL(address)
	if err != nil {
		return "", "", err
	}
	if u.Scheme == "file" {
		return filepath.Dir(u.Path), filepath.Base(u.Path), nil
	}
	name = strings.TrimPrefix(u.Path, "/")
	u.Path = ""
	return u.String(), name, nil
}
