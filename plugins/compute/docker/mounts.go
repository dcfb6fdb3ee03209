package docker

import (
	"archive/tar"
	"bytes"
	"context"
	"fmt"
	"os"
	"path"
	"path/filepath"
	"strconv"
	"strings"
	"time"
	"unicode"

	"github.com/moby/moby/client"

	"github.com/instarhq/instar/plugins/durable"
	"github.com/instarhq/instar/sdk"
)

// file is a config mount.
type file struct {
	path string // absolute, in the container
	data []byte
	mode os.FileMode
}

// copiedAt is the time of files that are copied into a container. Another one says that they were written to.
var copiedAt = time.Unix(1_000_000_000, 0).UTC()

// filesOf checks mounts: each stays in the instance.
func filesOf(mounts []sdk.Mount) ([]file, error) {
	seen := map[string]bool{}
	var files []file
	for n, m := range mounts {
		at := fmt.Sprintf("mount[%d].path", n)
		clean := path.Join("/", m.Path)
		switch {
		case !filepath.IsLocal(m.Path) || clean == "/" || strings.HasSuffix(m.Path, "/"):
			return nil, sdk.InvalidConfig(at, "%q must be the path of a file, relative to the instance's root, and stay in it", m.Path)
		case strings.ContainsFunc(m.Path, unicode.IsControl):
			return nil, sdk.InvalidConfig(at, "%q has a control character", m.Path)
		case seen[clean]:
			return nil, sdk.InvalidConfig(at, "%q is mounted twice", m.Path)
		}
		seen[clean] = true
		mode := os.FileMode(m.Mode & 0o777)
		if mode == 0 {
			mode = 0o444
		}
		files = append(files, file{path: clean, data: m.Data, mode: mode})
	}
	return files, nil
}

func (t *target) mountFile(id string, n int) string {
	return filepath.Join(t.instanceDir(id), mountsDir, strconv.Itoa(n))
}

// mountRecords are what the files are afterwards checked against.
func (p plan) mountRecords() []mountRecord {
	var records []mountRecord
	for n, f := range p.mounts {
		r := mountRecord{Path: f.path, Sum: sumOf(f.data), Size: int64(len(f.data))}
		if p.bind {
			r.File = strconv.Itoa(n)
		}
		records = append(records, r)
	}
	return records
}

// writeMounts writes the files that the container will mount, afresh.
func (t *target) writeMounts(p plan) error {
	if !p.bind || len(p.mounts) == 0 {
		return nil
	}
	dir := filepath.Join(t.instanceDir(p.spec.ID), mountsDir)
	if err := durable.RemoveTree(dir); err != nil {
		return err
	}
	// Only root passes through the state directory; the mount in the container is what others read.
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return err
	}
	for n, f := range p.mounts {
		name := t.mountFile(p.spec.ID, n)
		if err := os.WriteFile(name, f.data, 0o600); err != nil {
			return err
		}
		if err := os.Chmod(name, f.mode); err != nil { // whatever the umask is
			return err
		}
	}
	return nil
}

// copyMounts copies the files into a container that was not started yet, for an engine elsewhere.
func (t *target) copyMounts(ctx context.Context, container string, p plan) error {
	if p.bind || len(p.mounts) == 0 {
		return nil
	}
	archive, err := archiveOf(p.mounts)
	if err != nil {
		return err
	}
	return t.engine.ask(ctx, makeFor, "copy the config mounts into "+p.body.Name, func(ctx context.Context, api *client.Client) error {
		_, err := api.CopyToContainer(ctx, container, client.CopyToContainerOptions{DestinationPath: "/", Content: bytes.NewReader(archive)})
		return err
	})
}

// archiveOf packs the files with the directories that lead to them: those that are there stay as they are.
func archiveOf(files []file) ([]byte, error) {
	var archive bytes.Buffer
	w := tar.NewWriter(&archive)
	for _, f := range files {
		err := w.WriteHeader(&tar.Header{
			Typeflag: tar.TypeReg, Name: strings.TrimPrefix(f.path, "/"), Size: int64(len(f.data)), Mode: int64(f.mode), ModTime: copiedAt,
		})
		if err == nil {
			_, err = w.Write(f.data)
		}
		if err != nil {
			return nil, fmt.Errorf("pack mount %s: %w", f.path, err)
		}
	}
	return archive.Bytes(), w.Close()
}

// mountChanges finds mounted files that are not what they were.
func (t *target) mountChanges(ctx context.Context, c found, rec record) ([]string, error) {
	var changes []string
	for _, m := range rec.Mounts {
		same, err := t.isSame(ctx, c, rec, m)
		if err != nil {
			return nil, err
		}
		if !same {
			changes = append(changes, "mounted file "+m.Path+" is another one")
		}
	}
	return changes, nil
}

func (t *target) isSame(ctx context.Context, c found, rec record, m mountRecord) (bool, error) {
	if m.File != "" {
		data, err := os.ReadFile(filepath.Join(t.instanceDir(rec.ID), mountsDir, m.File))
		return err == nil && sumOf(data) == m.Sum, nil
	}
	stat, err := t.stat(ctx, c, m.Path)
	return stat != nil && stat.Size == m.Size && stat.Mtime.Equal(copiedAt), err
}
