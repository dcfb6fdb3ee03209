// Package proxy is the traffic driver that comes with instar: a reverse proxy for HTTP/1.1, HTTP/2,
// WebSocket and TCP that runs inside the driver's own process. DESIGN.md tells how it is built.
package proxy
