package daemon_test

import (
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/instarhq/instar/core/daemon"
)

// The API over TCP asks nobody for a name, so web pages must not get at it through a browser.
func TestTCPRefusesWhatABrowserWouldPassOn(t *testing.T) {
	d := newDir(t)
	made := d.start(func(c *daemon.Config) { c.Listen, c.Targets = "127.0.0.1:0", nil })
	base := "http://" + made.Address().String()
	tests := []struct {
		name, method, host, origin string
		status                     int
	}{
		{"client", http.MethodGet, "", "", http.StatusOK},
		{"localhost", http.MethodGet, "localhost:4747", "", http.StatusOK},
		{"a name that resolves to loopback", http.MethodGet, "rebound.example", "", http.StatusMisdirectedRequest},
		{"another site's page", http.MethodPost, "", "https://evil.example", http.StatusForbidden},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			req, err := http.NewRequestWithContext(t.Context(), tt.method, base+"/v1/health", strings.NewReader("{}"))
			if err != nil {
				t.Fatal(err)
			}
			req.Host = tt.host
			if tt.origin != "" {
				req.Header.Set("Origin", tt.origin)
			}
			resp, err := http.DefaultClient.Do(req)
			if err != nil {
				t.Fatal(err)
			}
			defer func() { _ = resp.Body.Close() }()
			if resp.StatusCode != tt.status {
				t.Errorf("status %s, want %d", resp.Status, tt.status)
			}
		})
	}
}

func TestConfigIsRefused(t *testing.T) {
	tests := []struct {
		name   string
		change func(*daemon.Config)
		want   string
	}{
		{"no directory", func(c *daemon.Config) { c.DataDir = "" }, "no data directory"},
		{"all interfaces", func(c *daemon.Config) { c.Listen = ":4747" }, "loopback"},
		{"another machine's address", func(c *daemon.Config) { c.Listen = "192.0.2.1:4747" }, "loopback"},
		{"no port", func(c *daemon.Config) { c.Listen = "127.0.0.1" }, "missing port"},
		{"node's name", func(c *daemon.Config) { c.Node = "Node_1" }, "Node_1"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			config := daemon.Config{DataDir: t.TempDir(), Node: "n1"}
			tt.change(&config)
			if _, err := daemon.New(config); err == nil || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("error %v, want one with %q", err, tt.want)
			}
		})
	}
}

func TestSocketInTheWay(t *testing.T) {
	d := newDir(t)
	shared := filepath.Join(filepath.Dir(d.path), "s")
	l, err := net.Listen("unix", shared)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = l.Close() }()
	refuse := func(socket, want string) {
		t.Helper()
		config := d.config()
		config.Socket, config.Targets = socket, nil
		made, err := daemon.New(config)
		if err != nil {
			t.Fatal(err)
		}
		if err := made.Start(t.Context()); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("error %v, want one with %q", err, want)
		}
	}
	refuse(shared, "in use")
	file := filepath.Join(filepath.Dir(d.path), "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	refuse(file, "no socket")
	refuse("/"+strings.Repeat("x", 120), "at most")
}

func TestSigningKeyStays(t *testing.T) {
	d := newDir(t)
	keys := func() string {
		made := d.start(func(c *daemon.Config) { c.Targets = nil })
		checkpoint, err := d.api().Checkpoint(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		if err := made.Close(); err != nil {
			t.Fatal(err)
		}
		return strings.Join(checkpoint.Keys, " ")
	}
	if first, second := keys(), keys(); first != second || first == "" {
		t.Errorf("keys %q, then %q", first, second)
	}
	if info, err := os.Stat(filepath.Join(d.path, "signer.key")); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("the key file is %v, %v", info.Mode(), err)
	}
}
