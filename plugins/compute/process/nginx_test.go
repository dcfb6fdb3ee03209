package process_test

import (
	"io"
	"net"
	"net/http"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/instarhq/instar/sdk"
)

// A server from the distribution, with its usual ways: a configuration that is mounted, files that it
// keeps in its directory, workers, logs that it opens by /dev/stdout, and a command line that it rewrites.
func TestNginx(t *testing.T) {
	n := newNode(t)
	spec := n.spec()
	spec.Config = config(t, map[string]any{
		"command":     []string{"/usr/sbin/nginx", "-p", ".", "-e", "stderr", "-c", "etc/site.conf", "-g", "daemon off;"},
		"stop_signal": "SIGQUIT",
	})
	spec.Ports = []sdk.Port{{Name: "http", Number: freePort(t)}}
	spec.Mounts = []sdk.Mount{{Path: "etc/site.conf", Data: []byte(`
		pid nginx.pid;
		worker_processes 2;
		events {}
		http {
			access_log /dev/stdout;
			client_body_temp_path body; proxy_temp_path proxy; fastcgi_temp_path fastcgi; uwsgi_temp_path uwsgi; scgi_temp_path scgi;
			server { listen 127.0.0.1:PORT; location / { return 200 "hello from nginx\n"; } }
		}`)}}
	spec.Mounts[0].Data = []byte(strings.ReplaceAll(string(spec.Mounts[0].Data), "PORT", strconv.Itoa(spec.Ports[0].Number)))
	i := n.create(spec)
	var body string
	n.eventually("nginx answers", func() bool {
		if now := n.inspect(spec.ID); now.State != sdk.StateRunning {
			t.Fatalf("nginx %s: %q", now.Exit.Message, n.logs(spec.ID))
		}
		resp, err := http.Get("http://" + i.Addresses["http"] + "/some/path")
		if err != nil {
			return false
		}
		defer func() { _ = resp.Body.Close() }()
		data, err := io.ReadAll(resp.Body)
		body = string(data)
		return err == nil && resp.StatusCode == http.StatusOK
	})
	if body != "hello from nginx\n" {
		t.Errorf("nginx says %q", body)
	}
	n.eventually("the request is in the log", func() bool {
		return strings.Contains(strings.Join(n.logs(spec.ID), "\n"), "GET /some/path")
	})
	n.reopen()
	if now := n.inspect(spec.ID); now.Fingerprint != i.Fingerprint || now.State != sdk.StateRunning {
		t.Errorf("nginx is %s with fingerprint %s, and was created with %s", now.State, now.Fingerprint, i.Fingerprint)
	}
	began := time.Now()
	n.destroy(spec.ID, time.Minute)
	if took := time.Since(began); took > 10*time.Second {
		t.Errorf("its end took %s", took)
	}
}

func freePort(t *testing.T) int {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = l.Close() }()
	return l.Addr().(*net.TCPAddr).Port
}
