package mesh

import (
	"context"
	"net"
	"net/http"
	"time"
)

// Bounds of HTTP between nodes.
const (
	headerLimit  = 64 << 10         // bytes
	headerTime   = 10 * time.Second // for the headers of a request
	idleTime     = 90 * time.Second // of a connection without a request, at the server
	idleClient   = 30 * time.Second // at the client: it ends first, so that it does not write to one that is being closed
	idlePerNode  = 8
	connsPerNode = 128
)

// Handle registers a handler for requests of other nodes, with a pattern of http.ServeMux. PeerOf tells
// who asks. Registering while requests are served is allowed.
func (m *Mesh) Handle(pattern string, handler http.Handler) { m.mux.Handle(pattern, handler) }

// HandleFunc is Handle for a function.
func (m *Mesh) HandleFunc(pattern string, handler func(http.ResponseWriter, *http.Request)) {
	m.mux.HandleFunc(pattern, handler)
}

// Client sends requests to other nodes: "http://n2/v1/…", with the node's name for the host. Each node
// has connections of its own, so one that hangs holds up no other; bound each request with its context.
func (m *Mesh) Client() *http.Client { return m.client }

// URL is the address of a path on a node, for Client.
func URL(node, path string) string { return "http://" + node + path }

func (m *Mesh) newServer() *http.Server {
	return &http.Server{
		Handler: m.mux, ReadHeaderTimeout: headerTime, IdleTimeout: idleTime, MaxHeaderBytes: headerLimit,
		BaseContext: func(net.Listener) context.Context { return m.ctx },
		ConnContext: func(ctx context.Context, c net.Conn) context.Context {
			if conn, ok := c.(*Conn); ok {
				return withPeer(ctx, conn.Peer)
			}
			return ctx
		},
		ErrorLog: m.cfg.Logger.StandardLogger(nil),
	}
}

func (m *Mesh) newClient() *http.Client {
	return &http.Client{
		Transport: &http.Transport{
			DialContext: func(ctx context.Context, _, address string) (net.Conn, error) {
				node, _, err := net.SplitHostPort(address)
				if err != nil {
					return nil, err
				}
				return m.Dial(ctx, node, RPC)
			},
			MaxIdleConnsPerHost: idlePerNode, MaxConnsPerHost: connsPerNode, IdleConnTimeout: idleClient,
			DisableCompression: true,
		},
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
}
