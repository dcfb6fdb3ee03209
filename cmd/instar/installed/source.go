package installed

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"time"

	"github.com/instarhq/instar/core"
)

// maxBinaryBytes bounds what is downloaded or copied.
const maxBinaryBytes = 2 << 30

// answerWithin is how long a server may take until it begins to answer.
const answerWithin = 30 * time.Second

var hexDigest = regexp.MustCompile(`^[0-9a-f]{64}$`)

// digestOf reads -sha256.
func digestOf(text string) (core.Digest, error) {
	if text == "" {
		return "", nil
	}
	digits := strings.ToLower(strings.TrimPrefix(text, "sha256:"))
	if !hexDigest.MatchString(digits) {
		return "", core.Errorf(core.CodeInvalid, "%q is no SHA-256", text).WithHint("64 hexadecimal digits, as sha256sum prints them")
	}
	return core.Digest("sha256:" + digits), nil
}

// source is a binary to be read.
type source struct {
	io.ReadCloser
	origin string // for the lock file
}

// open begins to read a path or a URL.
func open(ctx context.Context, from string, want core.Digest) (source, error) {
	scheme, _, isURL := strings.Cut(from, "://")
	if !isURL {
		return openFile(from)
	}
	u, err := url.Parse(from)
	if err != nil || u.Host == "" || (scheme != "https" && scheme != "http") {
		return source{}, core.Errorf(core.CodeInvalid, "%q is neither a path nor an http or https URL", from)
	}
	if scheme == "http" && want == "" {
		return source{}, core.Errorf(core.CodeInvalid, "anybody on the way could change what comes from %s", u.Redacted()).
			WithHint("say what it must be: -sha256 DIGEST, as the vendor publishes it; or use https")
	}
	return download(ctx, u, want)
}

func openFile(path string) (source, error) {
	abs, err := filepath.Abs(path)
	if err != nil {
		return source{}, err
	}
	info, err := os.Stat(abs)
	if err != nil {
		return source{}, err
	}
	if !info.Mode().IsRegular() {
		return source{}, core.Errorf(core.CodeInvalid, "%s is no file", path)
	}
	if info.Mode().Perm()&0o111 == 0 {
		return source{}, core.Errorf(core.CodeInvalid, "%s is not executable (%s)", path, info.Mode()).WithHint("chmod +x %s", path)
	}
	file, err := os.Open(abs)
	return source{file, abs}, err
}

// download begins to read a URL. Without a digest the way must be as safe as it began.
func download(ctx context.Context, u *url.URL, want core.Digest) (source, error) {
	transport := http.DefaultTransport.(*http.Transport).Clone()
	transport.ResponseHeaderTimeout = answerWithin
	client := &http.Client{Transport: transport, CheckRedirect: func(req *http.Request, via []*http.Request) error {
		if len(via) >= 10 {
			return errors.New("it redirects again and again")
		}
		if req.URL.Scheme != "https" && want == "" {
			return fmt.Errorf("it redirects to %s, which is not safe without -sha256", req.URL.Redacted())
		}
		return nil
	}}
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, u.String(), nil)
	if err != nil {
		return source{}, err
	}
	resp, err := client.Do(req)
	if err != nil {
		return source{}, fmt.Errorf("download: %w", err)
	}
	if resp.StatusCode != http.StatusOK {
		return source{}, errors.Join(fmt.Errorf("download: %s answers %s", u.Redacted(), resp.Status), resp.Body.Close())
	}
	return source{resp.Body, u.Redacted()}, nil
}

// copied is a binary in the driver directory, under a name that instard does not look at.
type copied struct {
	path   string
	digest core.Digest
	size   int64
}

// copyTo copies a source into a directory, durably, and closes it.
func copyTo(dir string, from source) (c copied, err error) {
	defer func() { err = errors.Join(err, from.Close()) }()
	file, err := os.CreateTemp(dir, ".instar-new-")
	if err != nil {
		return c, err
	}
	c.path = file.Name()
	defer func() {
		if err != nil {
			_ = os.Remove(c.path) // best effort beside the error that is returned
		}
	}()
	hash := sha256.New()
	c.size, err = io.Copy(io.MultiWriter(file, hash), io.LimitReader(from, maxBinaryBytes+1))
	if err == nil && c.size > maxBinaryBytes {
		err = core.Errorf(core.CodeTooLarge, "it has more than %d bytes", int64(maxBinaryBytes))
	}
	err = errors.Join(err, file.Chmod(0o755), file.Sync(), file.Close())
	if err != nil {
		return c, err
	}
	c.digest = core.Digest("sha256:" + hex.EncodeToString(hash.Sum(nil)))
	return c, nil
}
