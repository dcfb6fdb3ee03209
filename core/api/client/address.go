package client

import (
	"context"
	"net"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/instarhq/instar/core"
)

// EnvAddress is the environment variable that names the daemon.
const EnvAddress = "INSTAR_ADDR"

// devAddress is where `instard -dev` listens besides its socket.
const devAddress = "http://127.0.0.1:4747"

// apiPort is where nodes serve the API, unless an address says otherwise.
const apiPort = "4747"

// Discover returns the address to use: the given one, else INSTAR_ADDR, else the first of the usual
// sockets that exists, else the loopback address of `instard -dev`.
func Discover(address string) string {
	if address != "" {
		return address
	}
	if env := os.Getenv(EnvAddress); env != "" {
		return env
	}
	candidates := []string{"/run/instar/instar.sock", "/var/lib/instar/instar.sock"}
	if dir := os.Getenv("XDG_RUNTIME_DIR"); dir != "" {
		candidates = append([]string{filepath.Join(dir, "instar", "instar.sock")}, candidates...)
	}
	for _, path := range candidates {
		if info, err := os.Stat(path); err == nil && info.Mode()&os.ModeSocket != 0 {
			return "unix://" + path
		}
	}
	return devAddress
}

// endpoint is where requests go: a base URL and the transport that reaches it.
type endpoint struct {
	address   string // as the user wrote it
	base      string // scheme and host of every request
	unix      bool
	transport *http.Transport
}

func parseAddress(address string) (endpoint, error) {
	transport := &http.Transport{
		DialContext:         (&net.Dialer{Timeout: 5 * time.Second}).DialContext,
		MaxIdleConnsPerHost: 16, IdleConnTimeout: 30 * time.Second,
	}
	switch {
	case strings.HasPrefix(address, "unix://"), strings.HasPrefix(address, "/"):
		path := strings.TrimPrefix(address, "unix://")
		if !filepath.IsAbs(path) {
			return endpoint{}, badAddress(address, "the socket's path must begin with /: unix:///run/instar/instar.sock")
		}
		transport.DialContext = func(ctx context.Context, _, _ string) (net.Conn, error) {
			d := net.Dialer{Timeout: 5 * time.Second}
			return d.DialContext(ctx, "unix", path)
		}
		return endpoint{address: address, base: "http://instar", unix: true, transport: transport}, nil
	case strings.HasPrefix(address, "http://"), strings.HasPrefix(address, "https://"):
		u, err := url.Parse(address)
		if err != nil || u.Host == "" || strings.Trim(u.Path, "/") != "" {
			return endpoint{}, badAddress(address, "write it as https://HOST:PORT")
		}
		if u.Scheme == "https" && u.Port() == "" {
			u.Host = net.JoinHostPort(u.Hostname(), apiPort)
		}
		return endpoint{address: address, base: u.Scheme + "://" + u.Host, transport: transport}, nil
	}
	return endpoint{}, badAddress(address, "write unix:///PATH or https://HOST:PORT")
}

func badAddress(address, hint string) error {
	return core.Errorf(core.CodeInvalid, "%q is no address of an instard", address).WithHint("%s", hint)
}
