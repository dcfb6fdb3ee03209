package bounds

import (
	"container/list"
	"crypto/tls"
	"net"
	"net/http"
	"sync"
	"time"
)

// patience is for how long a new connection may be without a request before it can be dropped for another
// one, if there is no idle one to be dropped.
const patience = time.Second

// linger is for how long an idle connection is left alone: its client may still be reading the last answer,
// which closing it would cut off.
const linger = 200 * time.Millisecond

// Crowd bounds the number of connections. One too many drops the one that has been idle for longest; if
// none is, the one that has been waited for longest to send its first request; and if all are at work, the
// new one. So whoever opens connections and says nothing only drives out others who say nothing. Safe for
// concurrent use.
type Crowd struct {
	max int

	mu    sync.Mutex
	conns map[net.Conn]*member
	idle  *list.List // of *member, the one that became idle first in front
	fresh *list.List // likewise, of those that have not sent a request yet
}

type member struct {
	conn  net.Conn
	since time.Time
	in    *list.List // nil: at work
	place *list.Element
}

// NewCrowd makes a crowd of at most so many connections.
func NewCrowd(limit int) *Crowd {
	return &Crowd{max: limit, conns: map[net.Conn]*member{}, idle: list.New(), fresh: list.New()}
}

// ConnState is for http.Server.ConnState.
func (c *Crowd) ConnState(conn net.Conn, state http.ConnState) {
	if victim := c.follow(conn, state); victim != nil {
		abandon(victim)
	}
}

// follow keeps the books and returns a connection to be closed.
func (c *Crowd) follow(conn net.Conn, state http.ConnState) (victim net.Conn) {
	c.mu.Lock()
	defer c.mu.Unlock()
	m := c.conns[conn]
	if m == nil {
		if state != http.StateNew {
			return nil // dropped already
		}
		m = &member{conn: conn}
		c.conns[conn] = m
	}
	m.leave()
	switch state {
	case http.StateNew:
		m.join(c.fresh)
	case http.StateIdle:
		m.join(c.idle)
	case http.StateClosed, http.StateHijacked:
		delete(c.conns, conn)
	case http.StateActive:
	}
	if len(c.conns) <= c.max {
		return nil
	}
	out := c.choose(m)
	out.leave()
	delete(c.conns, out.conn)
	return out.conn
}

// choose finds who goes for the newcomer.
func (c *Crowd) choose(newcomer *member) *member {
	for _, from := range []struct {
		list *list.List
		wait time.Duration
	}{{c.idle, linger}, {c.fresh, patience}} {
		if e := from.list.Front(); e != nil && time.Since(e.Value.(*member).since) >= from.wait {
			return e.Value.(*member)
		}
	}
	return newcomer
}

func (m *member) join(l *list.List) {
	m.since, m.in = time.Now(), l
	m.place = l.PushBack(m)
}

func (m *member) leave() {
	if m.in != nil {
		m.in.Remove(m.place)
		m.in, m.place = nil, nil
	}
}

// Len is how many connections there are.
func (c *Crowd) Len() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return len(c.conns)
}

// abandon closes a connection without a word: saying goodbye in TLS could block on a client that does not
// read.
func abandon(conn net.Conn) {
	if t, ok := conn.(*tls.Conn); ok {
		conn = t.NetConn()
	}
	_ = conn.Close() // it is gone either way
}
