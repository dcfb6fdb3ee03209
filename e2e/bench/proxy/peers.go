package main

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"path/filepath"
)

// The sizes of the two answers in bytes.
const (
	smallSize = 128
	largeSize = 64 << 10
)

// nginxHead is what both nginx servers begin with: no files outside dir, no log of requests.
const nginxHead = `daemon off;
pid %[1]s/%[2]s.pid;
error_log %[1]s/%[2]s-error.log warn;
worker_processes %[3]s;
events { worker_connections 1024; }
http {
  access_log off;
  keepalive_requests 100000000;
  client_body_temp_path %[1]s/%[2]s-body;
  proxy_temp_path %[1]s/%[2]s-proxy;
  fastcgi_temp_path %[1]s/%[2]s-fastcgi;
  uwsgi_temp_path %[1]s/%[2]s-uwsgi;
  scgi_temp_path %[1]s/%[2]s-scgi;
`

// startBackend starts an nginx that serves two files from memory: a backend that costs little beside the
// proxies.
func startBackend(ctx context.Context, dir string) (*server, error) {
	address, err := freeAddress()
	if err != nil {
		return nil, err
	}
	root := filepath.Join(dir, "root")
	if err := os.Mkdir(root, 0o755); err != nil {
		return nil, err
	}
	for name, size := range map[string]int{"small": smallSize, "large": largeSize} {
		if err := os.WriteFile(filepath.Join(root, name), bytes.Repeat([]byte("x"), size), 0o644); err != nil {
			return nil, err
		}
	}
	return startNginxWith(ctx, dir, "backend", address, "1", fmt.Sprintf(
		"  sendfile on; tcp_nopush on; open_file_cache max=10;\n  server { listen %s; root %s; }\n}\n", address, root))
}

// startNginx starts nginx as a proxy with kept-alive connections to the backend.
func startNginx(ctx context.Context, dir, backend string) (*server, error) {
	address, err := freeAddress()
	if err != nil {
		return nil, err
	}
	return startNginxWith(ctx, dir, "nginx", address, "auto", fmt.Sprintf(`  upstream backend { server %s; keepalive 128; keepalive_requests 100000000; }
  server {
    listen %s;
    location / {
      proxy_pass http://backend;
      proxy_http_version 1.1;
      proxy_set_header Connection "";
      proxy_set_header Host $host;
      proxy_set_header X-Forwarded-For $remote_addr;
      proxy_set_header X-Forwarded-Proto $scheme;
    }
  }
}
`, backend, address))
}

func startNginxWith(ctx context.Context, dir, name, address, workers, rest string) (*server, error) {
	path := filepath.Join(dir, name+".conf")
	if err := os.WriteFile(path, fmt.Appendf(nil, nginxHead+"%[4]s", dir, name, workers, rest), 0o644); err != nil {
		return nil, err
	}
	return startProcess(ctx, dir, name, address, "nginx", "-c", path, "-p", dir, "-e", filepath.Join(dir, name+"-error.log"))
}

// startHAProxy starts HAProxy with as many threads as there are cores, which is its default.
func startHAProxy(ctx context.Context, dir, backend string) (*server, error) {
	address, err := freeAddress()
	if err != nil {
		return nil, err
	}
	path := filepath.Join(dir, "haproxy.cfg")
	config := fmt.Sprintf(`defaults
  mode http
  timeout connect 5s
  timeout client 60s
  timeout server 60s
  http-reuse always
  option forwardfor
frontend in
  bind %s
  default_backend out
backend out
  server one %s
`, address, backend)
	if err := os.WriteFile(path, []byte(config), 0o644); err != nil {
		return nil, err
	}
	return startProcess(ctx, dir, "haproxy", address, "haproxy", "-f", path, "-db", "-q")
}

// startCaddy starts Caddy without its admin interface and without TLS.
func startCaddy(ctx context.Context, dir, backend string) (*server, error) {
	address, err := freeAddress()
	if err != nil {
		return nil, err
	}
	path := filepath.Join(dir, "Caddyfile")
	config := fmt.Sprintf(`{
  admin off
  auto_https off
}
http://%s {
  reverse_proxy %s {
    transport http {
      keepalive_idle_conns_per_host 128
    }
  }
}
`, address, backend)
	if err := os.WriteFile(path, []byte(config), 0o644); err != nil {
		return nil, err
	}
	return startProcess(ctx, dir, "caddy", address, "caddy", "run", "--config", path, "--adapter", "caddyfile")
}
