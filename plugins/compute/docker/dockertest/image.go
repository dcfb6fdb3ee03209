package dockertest

import (
	"archive/tar"
	"bytes"
	"context"
	"fmt"
	"io"
	"os"
	"os/exec"

	"github.com/moby/moby/client"
)

// File is a file of an image; a Link is a symbolic one.
type File struct {
	Path string // relative
	Data []byte
	Mode int64
	Link string
}

// applets are the commands of the image that Busybox makes.
var applets = []string{"sh", "sleep", "cat", "echo", "id", "httpd", "touch", "rm", "mv", "env", "true", "kill", "ls", "dd", "head", "nc", "wget"}

// Busybox imports an image with a static busybox, further files, and changes in the words of a Dockerfile, such
// as `CMD ["sleep", "3600"]`. It returns the image's id.
func (e *Engine) Busybox(ctx context.Context, name string, files []File, changes ...string) (string, error) {
	path, err := exec.LookPath("busybox")
	if err != nil {
		return "", err
	}
	program, err := os.ReadFile(path)
	if err != nil {
		return "", err
	}
	all := []File{
		{Path: "bin/busybox", Data: program, Mode: 0o755},
		{Path: "etc/passwd", Data: []byte("root:x:0:0:root:/:/bin/sh\nweb:x:1000:1000:web:/:/bin/sh\n"), Mode: 0o644},
		{Path: "etc/group", Data: []byte("root:x:0:\nweb:x:1000:\n"), Mode: 0o644},
		{Path: "tmp/.keep", Mode: 0o644},
	}
	for _, name := range applets {
		all = append(all, File{Path: "bin/" + name, Link: "busybox"})
	}
	return e.Import(ctx, name, append(all, files...), changes...)
}

// Import imports an image of the given files.
func (e *Engine) Import(ctx context.Context, name string, files []File, changes ...string) (string, error) {
	var archive bytes.Buffer
	w := tar.NewWriter(&archive)
	for _, f := range files {
		h := &tar.Header{Typeflag: tar.TypeReg, Name: f.Path, Size: int64(len(f.Data)), Mode: f.Mode}
		if f.Link != "" {
			h.Typeflag, h.Linkname, h.Mode = tar.TypeSymlink, f.Link, 0o777
		}
		if err := w.WriteHeader(h); err != nil {
			return "", err
		}
		if _, err := w.Write(f.Data); err != nil {
			return "", err
		}
	}
	if err := w.Close(); err != nil {
		return "", err
	}
	answer, err := e.API.ImageImport(ctx, client.ImageImportSource{Source: &archive, SourceName: "-"}, name, client.ImageImportOptions{Changes: changes})
	if err != nil {
		return "", fmt.Errorf("import %s: %w", name, err)
	}
	said, err := io.ReadAll(answer)
	if err := answer.Close(); err != nil {
		return "", err
	}
	if err != nil {
		return "", err
	}
	img, err := e.API.ImageInspect(ctx, name)
	if err != nil {
		return "", fmt.Errorf("import %s: %w: %s", name, err, said)
	}
	return img.ID, nil
}

// Local is what an image without a registry is called at this engine.
func (e *Engine) Local(name string) string {
	if e.podman {
		return "localhost/" + name
	}
	return name
}
