package sdktest

import (
	"net"
	"os"
	"path/filepath"

	"github.com/hashicorp/go-hclog"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials"

	"github.com/instarhq/instar/sdk"
	"github.com/instarhq/instar/sdk/wire"
)

// ServeCompute serves a driver on a unix socket, with the adapters, the interceptors and the mutual TLS of
// a real driver process, and returns its client.
func ServeCompute(t T, driver sdk.Compute) sdk.Compute {
	t.Helper()
	return wire.NewCompute(dial(t, driver))
}

// ServeTraffic is ServeCompute for a traffic driver.
func ServeTraffic(t T, driver sdk.Traffic) sdk.Traffic {
	t.Helper()
	return wire.NewTraffic(dial(t, driver))
}

// ServeMetrics is ServeCompute for a metrics driver.
func ServeMetrics(t T, driver sdk.Metrics) sdk.Metrics {
	t.Helper()
	return wire.NewMetrics(dial(t, driver))
}

func dial(t T, driver sdk.Driver) *grpc.ClientConn {
	t.Helper()
	host, peer := identity(t, "host"), identity(t, "driver")
	serverTLS, err := wire.ServerTLS(peer, host.Certificate)
	if err != nil {
		t.Fatalf("TLS of the driver: %v", err)
	}
	clientTLS, err := wire.ClientTLS(host, peer.Certificate)
	if err != nil {
		t.Fatalf("TLS of the host: %v", err)
	}
	server := grpc.NewServer(append(wire.ServerOptions(hclog.NewNullLogger()), grpc.Creds(credentials.NewTLS(serverTLS)))...)
	if err := wire.Register(server, driver); err != nil {
		t.Fatalf("%v", err)
	}
	// Not in T's own directory: its path may be too long for a socket.
	dir, err := os.MkdirTemp("", "sdktest-")
	if err != nil {
		t.Fatalf("directory for the socket: %v", err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	path := filepath.Join(dir, "s")
	listener, err := net.Listen("unix", path)
	if err != nil {
		t.Fatalf("listening: %v", err)
	}
	go func() { _ = server.Serve(listener) }() // ends with Stop
	t.Cleanup(server.Stop)
	conn, err := grpc.NewClient("unix:"+path, grpc.WithTransportCredentials(credentials.NewTLS(clientTLS)),
		grpc.WithDefaultCallOptions(grpc.MaxCallRecvMsgSize(wire.MaxMessageBytes), grpc.MaxCallSendMsgSize(wire.MaxMessageBytes)))
	if err != nil {
		t.Fatalf("connecting: %v", err)
	}
	t.Cleanup(func() { _ = conn.Close() })
	return conn
}

func identity(t T, name string) wire.Identity {
	id, err := wire.NewIdentity(name)
	if err != nil {
		t.Fatalf("identity of the %s: %v", name, err)
	}
	return id
}
