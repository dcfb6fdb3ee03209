package artifact

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"time"

	"github.com/instarhq/instar/sdk"
)

const (
	// stall is how long a download may go without a byte.
	stall = 30 * time.Second
	// maxRedirects is net/http's own limit.
	maxRedirects = 10
)

// download is a source behind http or https.
type download struct {
	url    *url.URL
	limits Limits
}

func (d download) again() bool { return false }

// client follows redirects, but never from https to http, and gives up on servers that do not answer.
var client = &http.Client{
	Transport: &http.Transport{
		Proxy:                 http.ProxyFromEnvironment,
		DialContext:           (&net.Dialer{Timeout: 10 * time.Second}).DialContext,
		TLSHandshakeTimeout:   10 * time.Second,
		ResponseHeaderTimeout: stall,
		IdleConnTimeout:       5 * time.Second,
		DisableCompression:    true, // the bytes are what the checksum is of
	},
	CheckRedirect: func(req *http.Request, via []*http.Request) error {
		if len(via) >= maxRedirects {
			return fmt.Errorf("stopped after %d redirects", maxRedirects)
		}
		if via[len(via)-1].URL.Scheme == "https" && req.URL.Scheme != "https" {
			return errors.New("refused a redirect from https to " + req.URL.Scheme)
		}
		return nil
	},
}

func (d download) stream(ctx context.Context, w io.Writer, progress Progress) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, d.url.String(), nil)
	if err != nil {
		return refuse("%w", err)
	}
	resp, err := client.Do(req)
	if err != nil {
		return d.failed(ctx, err)
	}
	defer func() { _ = resp.Body.Close() }()
	if resp.StatusCode != http.StatusOK {
		return d.refused(resp)
	}
	body := &watched{from: resp.Body, timer: time.AfterFunc(stall, func() {
		cancel(sdk.Unavailable(stall, "download of %s stalled: no byte in %s", d.url.Redacted(), stall))
	})}
	defer body.timer.Stop()
	if err := copyLimited(ctx, w, body, resp.ContentLength, d.limits, progress); err != nil {
		return d.failed(ctx, err)
	}
	return nil
}

// failed tells an error of the network, which may pass, from one of the disk or of the artifact.
func (d download) failed(ctx context.Context, err error) error {
	if cause := context.Cause(ctx); cause != nil {
		return cause
	}
	var network *url.Error
	var conn net.Error
	if errors.As(err, &network) || errors.As(err, &conn) || errors.Is(err, io.ErrUnexpectedEOF) {
		return sdk.Unavailable(5*time.Second, "download %s: %w", d.url.Redacted(), err)
	}
	return err
}

func (d download) refused(resp *http.Response) error {
	where := d.url.Redacted()
	switch code := resp.StatusCode; {
	case code == http.StatusNotFound || code == http.StatusGone:
		return sdk.NotFound("artifact source %s: the server answered %s", where, resp.Status)
	case code == http.StatusTooManyRequests || code >= 500:
		return sdk.Unavailable(10*time.Second, "artifact source %s: the server answered %s", where, resp.Status)
	}
	return refuse("%s: the server answered %s", where, resp.Status)
}

// watched puts off its timer with every byte.
type watched struct {
	from  io.Reader
	timer *time.Timer
}

// Read implements io.Reader.
func (w *watched) Read(p []byte) (int, error) {
	n, err := w.from.Read(p)
	w.timer.Reset(stall)
	return n, err
}
