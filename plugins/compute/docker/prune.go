package docker

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/moby/moby/client"

	"github.com/instarhq/instar/plugins/durable"
	"github.com/instarhq/instar/sdk"
)

// Images that this driver has pulled are noted in the folder images, by their digest, before the pull: only
// those are ever removed. An image that somebody else has pulled, built or loaded is theirs.

// noted is a pulled image.
type noted struct {
	Name string `json:"name"` // with the digest
}

func (t *target) imageNote(d string) string {
	return filepath.Join(t.dir, imagesDir, strings.TrimPrefix(d, "sha256:"))
}

func (t *target) noteImage(d, name string) error {
	return durable.Explain(durable.WriteJSON(t.imageNote(d), noted{Name: name}), t.dir)
}

// prune is Prune.
func (t *target) prune(ctx context.Context, keep []string) (int64, error) {
	if err := t.pruneTombstones(time.Now()); err != nil {
		return 0, err
	}
	if err := t.sweep(ctx); err != nil {
		return 0, err
	}
	// No container is being made meanwhile: its image would be seen as unused.
	t.images.Lock()
	defer t.images.Unlock()
	entries, err := os.ReadDir(filepath.Join(t.dir, imagesDir))
	if err != nil {
		return 0, err
	}
	var unneeded []string
	for _, e := range entries {
		if d := "sha256:" + e.Name(); digestRE.MatchString(d) && !slices.Contains(keep, d) {
			unneeded = append(unneeded, d)
		}
	}
	if len(unneeded) == 0 {
		return 0, nil
	}
	before, err := t.imageBytes(ctx)
	if err != nil {
		return 0, err
	}
	var failed []error
	for _, d := range unneeded {
		failed = append(failed, t.removeImage(ctx, d))
	}
	after, err := t.imageBytes(ctx)
	if err != nil {
		return 0, err
	}
	return max(before-after, 0), errors.Join(failed...)
}

// removeImage removes the name that a pull has made. The engine keeps what a container or another name uses;
// what a container uses is tried again at the next time.
func (t *target) removeImage(ctx context.Context, d string) error {
	var n noted
	if err := durable.ReadJSON(t.imageNote(d), &n); err != nil {
		return err
	}
	err := t.engine.ask(ctx, makeFor, "remove image "+n.Name, func(ctx context.Context, api *client.Client) error {
		_, err := api.ImageRemove(ctx, n.Name, client.ImageRemoveOptions{PruneChildren: true})
		return err
	})
	switch sdk.CodeOf(err) {
	case sdk.CodeConflict:
		return nil
	case "", sdk.CodeNotFound:
		return os.Remove(t.imageNote(d))
	}
	return err
}

// imageBytes is how much room all images take, layers that they share counted once.
func (t *target) imageBytes(ctx context.Context) (int64, error) {
	var size int64
	err := t.engine.ask(ctx, makeFor, "measure the images", func(ctx context.Context, api *client.Client) error {
		usage, err := api.DiskUsage(ctx, client.DiskUsageOptions{Images: true})
		size = usage.Images.TotalSize
		return err
	})
	return size, err
}
