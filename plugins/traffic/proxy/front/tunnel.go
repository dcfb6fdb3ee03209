package front

import (
	"context"
	"errors"
	"io"
	"net"
	"time"

	"github.com/instarhq/instar/plugins/traffic/proxy/http1"
	"github.com/instarhq/instar/plugins/traffic/proxy/route"
)

// upgradeLinger is how long one direction of an upgraded connection goes on after the other has ended.
// Protocols over Upgrade close both together; a plain TCP connection may stay half open for ever.
const upgradeLinger = 30 * time.Second

// upgrade turns the exchange into a tunnel after 101 Switching Protocols.
func (p *passage) upgrade() error {
	res := &p.x.up.Response
	if p.req.Upgrade == nil || res.Upgrade == nil {
		return errBadAnswer
	}
	out := http1.AppendStatus(nil, res.Status, res.Reason)
	for i := range res.Fields {
		if f := &res.Fields[i]; f.Kind == http1.KindOther {
			out = http1.AppendField(out, f.Name, f.Value)
		}
	}
	if p.x.flight.Preview {
		out = appendRevision(out, p.x.flight.Revision)
	}
	out = append(out, "Connection: Upgrade\r\n"...)
	out = http1.AppendField(out, []byte("Upgrade"), res.Upgrade)
	out = append(out, "\r\n"...)
	p.started = true
	if p.unwatch() {
		return errClient
	}
	p.write.push(p.nc, time.Now())
	if _, err := p.nc.Write(out); err != nil {
		return errClient
	}
	up := p.x.up
	t := tunnel{client: p.nc, up: up.TCPConn, linger: upgradeLinger}
	t.run(p.in.Bytes(), up.Reader.Bytes())
	p.x.finish(route.Outcome{Now: time.Now()}, false)
	return nil // and keep is false
}

// serveTCP passes one TCP connection on.
func (l *Listener) serveTCP(c *client, conn net.Conn, r *route.Route) {
	defer func() { _ = conn.Close() }()
	if r == nil {
		return
	}
	var x exchange
	x.init(l.server.settings.Load().ConnectPatience, func() { _ = c.Close() }, nil)
	now := time.Now()
	x.begin(now)
	if err := x.reach(context.Background(), r, route.Ask{Now: now}, true); err != nil {
		l.server.logger.Debug("a TCP connection found no endpoint", "route", r.ID, "error", err)
		return
	}
	t := tunnel{client: conn, up: x.up.TCPConn}
	t.run(nil, nil)
	x.finish(route.Outcome{Now: time.Now()}, false)
}

// tunnel copies bytes both ways. An end of input is passed on as such, so half-closed connections work; a
// broken connection ends both.
type tunnel struct {
	client net.Conn
	up     *net.TCPConn
	linger time.Duration // for one direction after the other has ended; 0: no limit
}

// run copies until both directions have ended. fromClient and fromUp are bytes that were read ahead.
func (t *tunnel) run(fromClient, fromUp []byte) {
	_ = t.client.SetDeadline(time.Time{})
	_ = t.up.SetDeadline(time.Time{})
	done := make(chan struct{})
	go func() {
		defer close(done)
		t.copy(t.up, plain(t.client), fromClient)
	}()
	t.copy(plain(t.client), t.up, fromUp)
	<-done
	_ = t.up.Close()
	_ = t.client.Close()
}

// plain returns the TCP connection itself where there is no TLS, so that the kernel can move the bytes.
func plain(c net.Conn) net.Conn {
	if c, ok := c.(*client); ok {
		return c.TCPConn
	}
	return c
}

func (t *tunnel) copy(dst, src net.Conn, ahead []byte) {
	_, err := dst.Write(ahead)
	if err == nil {
		_, err = io.Copy(dst, src)
	}
	if err == nil {
		if half, ok := dst.(interface{ CloseWrite() error }); ok {
			err = half.CloseWrite()
		} else {
			err = errors.ErrUnsupported
		}
	}
	if err != nil {
		_ = t.up.Close()
		_ = t.client.Close()
	} else if t.linger > 0 {
		_ = dst.SetReadDeadline(time.Now().Add(t.linger))
	}
}
