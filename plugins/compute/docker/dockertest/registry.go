package dockertest

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"

	cerrdefs "github.com/containerd/errdefs"
	"github.com/moby/moby/api/pkg/authconfig"
	registryapi "github.com/moby/moby/api/types/registry"
	"github.com/moby/moby/client"
)

// User and Password are known to a registry with credentials; hash is the password's bcrypt.
const (
	User     = "deployer"
	Password = "a-secret-of-the-test"
	hash     = "$2a$04$.qI7YT/2He6vYscp5WmbbOpCnrP97xgQJyLgrofzTt.mv6RCFggQC"
)

// Registry is a registry of images, docker-registry from the package of that name, that an engine reaches.
type Registry struct {
	Host  string // "10.213.1.2:34567"
	cmd   *exec.Cmd
	ended chan struct{}
	auth  string
}

const registryConfig = `version: 0.1
log: {level: error, accesslog: {disabled: true}}
storage: {filesystem: {rootdirectory: %s}, delete: {enabled: true}}
http: {addr: %q}
`

// StartRegistry starts a registry beside an engine; it ends with Stop. With credentials it serves User only.
func (e *Engine) StartRegistry(ctx context.Context, credentials bool) (_ *Registry, err error) {
	dir, err := os.MkdirTemp(e.Dir, "registry-")
	if err != nil {
		return nil, err
	}
	free, err := net.Listen("tcp", e.Gateway+":0")
	if err != nil {
		return nil, err
	}
	r := &Registry{Host: free.Addr().String(), ended: make(chan struct{})}
	if err := free.Close(); err != nil {
		return nil, err
	}
	config := fmt.Sprintf(registryConfig, filepath.Join(dir, "data"), r.Host)
	if credentials {
		users := filepath.Join(dir, "users")
		config += fmt.Sprintf("auth: {htpasswd: {realm: test, path: %s}}\n", users)
		if err := os.WriteFile(users, []byte(User+":"+hash+"\n"), 0o600); err != nil {
			return nil, err
		}
		if r.auth, err = authconfig.Encode(registryapi.AuthConfig{Username: User, Password: Password}); err != nil {
			return nil, err
		}
	}
	if r.auth == "" {
		// Older engines want the header also when there is nothing to say.
		if r.auth, err = authconfig.Encode(registryapi.AuthConfig{}); err != nil {
			return nil, err
		}
	}
	file := filepath.Join(dir, "config.yml")
	if err := os.WriteFile(file, []byte(config), 0o600); err != nil {
		return nil, err
	}
	r.cmd = exec.Command("docker-registry", "serve", file)
	if err := r.cmd.Start(); err != nil {
		return nil, err
	}
	go func() { _ = r.cmd.Wait(); close(r.ended) }()
	err = r.await(ctx)
	return r, err
}

func (r *Registry) await(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, startWithin)
	defer cancel()
	for {
		req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+r.Host+"/v2/", nil)
		if err != nil {
			return err
		}
		resp, err := http.DefaultClient.Do(req)
		if err == nil {
			return resp.Body.Close()
		}
		select {
		case <-r.ended:
			return errors.New("docker-registry has ended")
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(20 * time.Millisecond):
		}
	}
}

// Stop ends the registry. Its data goes with the engine's.
func (r *Registry) Stop() error {
	if err := r.cmd.Process.Kill(); err != nil && !errors.Is(err, os.ErrProcessDone) {
		return err
	}
	<-r.ended
	return nil
}

// Push puts an image of the engine's into the registry under a name such as "web:1", removes every name that
// this has given it at the engine, and returns the full name.
func (r *Registry) Push(ctx context.Context, e *Engine, image, name string) (string, error) {
	full := r.Host + "/" + name
	if _, err := e.API.ImageTag(ctx, client.ImageTagOptions{Source: image, Target: full}); err != nil {
		return "", err
	}
	answer, err := e.API.ImagePush(ctx, full, client.ImagePushOptions{RegistryAuth: r.auth})
	if err != nil {
		return "", err
	}
	said, err := io.ReadAll(answer)
	if err := errors.Join(err, answer.Close()); err != nil {
		return "", err
	}
	if strings.Contains(string(said), `"error"`) {
		return "", fmt.Errorf("push %s: %s", full, said)
	}
	img, err := e.API.ImageInspect(ctx, full)
	if err != nil {
		return "", err
	}
	for _, n := range append(img.RepoTags, img.RepoDigests...) {
		if strings.HasPrefix(n, r.Host+"/") {
			// The digest goes with the last tag.
			if _, err := e.API.ImageRemove(ctx, n, client.ImageRemoveOptions{}); err != nil && !cerrdefs.IsNotFound(err) {
				return "", err
			}
		}
	}
	return full, nil
}
