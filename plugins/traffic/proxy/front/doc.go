// Package front is the proxy's side towards its clients: listeners, TLS, HTTP/1.1, HTTP/2 and TCP, and the
// exchange of one request with an endpoint.
//
// HTTP/1.1 is served by a loop of its own (conn.go), one goroutine for a connection that reads a head,
// claims an endpoint, and passes bytes on through pooled buffers. HTTP/2, with and without TLS, is served
// by net/http; its handler (h2.go) goes through the same claim and the same connections to endpoints.
package front
