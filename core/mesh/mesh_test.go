package mesh_test

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"io"
	"net"
	"net/http"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/instarhq/instar/core"
	"github.com/instarhq/instar/core/mesh"
)

// whoami answers with the peer's name.
func whoami(m *mesh.Mesh) {
	m.HandleFunc("GET /whoami", func(w http.ResponseWriter, r *http.Request) {
		peer, _ := mesh.PeerOf(r.Context())
		_, _ = io.WriteString(w, peer.Node)
	})
}

func ask(t *testing.T, m *mesh.Mesh, node string) (string, error) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), limit)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, mesh.URL(node, "/whoami"), nil)
	if err != nil {
		t.Fatal(err)
	}
	resp, err := m.Client().Do(req)
	if err != nil {
		return "", err
	}
	defer func() { _ = resp.Body.Close() }()
	body, err := io.ReadAll(resp.Body)
	return string(body), err
}

func TestRequestsCarryThePeer(t *testing.T) {
	a, n := newAuthority(t), &network{t: t}
	one := n.start("n1", a.issue("n1", nil), mesh.Limits{}, whoami)
	two := n.start("n2", a.issue("n2", nil), mesh.Limits{}, whoami)
	for _, tt := range []struct {
		from *mesh.Mesh
		to   string
	}{{one, "n2"}, {two, "n1"}, {one, "n1"}} {
		if got, err := ask(t, tt.from, tt.to); err != nil || got != tt.from.Node() {
			t.Errorf("%s asked %s: %q, %v", tt.from.Node(), tt.to, got, err)
		}
	}
	if _, err := ask(t, one, "n3"); core.CodeOf(err) != core.CodeUnavailable {
		t.Errorf("an unknown node: %v", err)
	}
}

func TestProtocolsAreApart(t *testing.T) {
	a, n := newAuthority(t), &network{t: t}
	var raft *mesh.Layer
	n.start("n1", a.issue("n1", nil), mesh.Limits{}, func(m *mesh.Mesh) { raft = m.Protocol(mesh.Raft) })
	two := n.start("n2", a.issue("n2", nil), mesh.Limits{}, nil)
	layer := two.Protocol(mesh.Raft)
	if layer.Addr().String() != "n2" {
		t.Errorf("the address is %q", layer.Addr())
	}
	out, err := layer.Dial("n1", limit)
	if err != nil {
		t.Fatal(err)
	}
	in, err := raft.Accept()
	if err != nil {
		t.Fatal(err)
	}
	if peer := in.(*mesh.Conn).Peer; peer.Node != "n2" || peer.Certificate == nil {
		t.Errorf("peer %+v", peer)
	}
	go func() { _, _ = io.WriteString(out, "hello") }()
	got := make([]byte, 5)
	if _, err := io.ReadFull(in, got); err != nil || string(got) != "hello" {
		t.Errorf("%q, %v", got, err)
	}
	if _, err := two.Dial(t.Context(), "n1", "instar-none/1"); err == nil {
		t.Error("an unknown protocol was spoken")
	}
	if err := raft.Close(); err != nil {
		t.Fatal(err)
	}
	if _, err := raft.Accept(); err == nil {
		t.Error("a closed protocol accepts")
	}
}

// Whoever is not a member of this cluster gets nowhere, in either direction.
func TestForgedCertificates(t *testing.T) {
	a, other, n := newAuthority(t), newAuthority(t), &network{t: t}
	one := n.start("n1", a.issue("n1", nil), mesh.Limits{}, whoami)
	expired := a.issue("n2", func(c *x509.Certificate) { c.NotAfter = time.Now().Add(-time.Second) })
	for name, c := range map[string]*credentials{"another cluster's": other.issue("n2", nil), "expired": expired} {
		t.Run(name, func(t *testing.T) {
			c.trust = a // it does not mind who we are
			m := n.start("n2", c, mesh.Limits{}, whoami)
			if got, err := ask(t, m, "n1"); err == nil {
				t.Errorf("it was answered %q", got)
			}
			if got, err := ask(t, one, "n2"); err == nil {
				t.Errorf("it answered %q", got)
			}
		})
	}
	t.Run("another node at the address", func(t *testing.T) {
		three := n.start("n3", a.issue("n3", nil), mesh.Limits{}, whoami)
		_, err := one.DialAddress(t.Context(), three.Addr().String(), "n2", mesh.RPC)
		if core.CodeOf(err) != core.CodeDenied || !strings.Contains(err.Error(), `"n3"`) {
			t.Errorf("error %v", err)
		}
	})
	t.Run("a stranger", func(t *testing.T) {
		c, err := tls.Dial("tcp", one.Addr().String(), &tls.Config{InsecureSkipVerify: true, NextProtos: []string{mesh.Join}}) //nolint:gosec // the server is ours
		if err == nil && !broken(t, c) {
			t.Error("somebody joins where nobody can")
		}
	})
	t.Run("none", func(t *testing.T) {
		c, err := tls.Dial("tcp", one.Addr().String(), &tls.Config{InsecureSkipVerify: true, NextProtos: []string{mesh.RPC}}) //nolint:gosec // the server is ours
		if err == nil && !broken(t, c) {
			t.Error("a client without a certificate is connected")
		}
	})
}

// A revoked certificate ends the connections that exist, whoever made them, and makes no new ones.
func TestRevocationIsLive(t *testing.T) {
	a, n := newAuthority(t), &network{t: t}
	var raft *mesh.Layer
	one := n.start("n1", a.issue("n1", nil), mesh.Limits{}, func(m *mesh.Mesh) { raft = m.Protocol(mesh.Raft); whoami(m) })
	credentials := a.issue("n2", nil)
	two := n.start("n2", credentials, mesh.Limits{}, func(m *mesh.Mesh) { m.Protocol(mesh.Raft); whoami(m) })
	incoming, err := two.Dial(t.Context(), "n1", mesh.Raft)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := raft.Accept(); err != nil {
		t.Fatal(err)
	}
	outgoing, err := one.Dial(t.Context(), "n2", mesh.Raft)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := ask(t, two, "n1"); err != nil {
		t.Fatal(err)
	}
	a.revoke(credentials)
	one.Recheck()
	if !broken(t, incoming) || !broken(t, outgoing) {
		t.Error("a connection of a revoked certificate goes on")
	}
	if got, err := ask(t, two, "n1"); err == nil {
		t.Errorf("a revoked node was answered %q", got)
	}
	if c, err := one.Dial(t.Context(), "n2", mesh.Raft); err == nil {
		t.Errorf("a revoked node was connected to: %v", c.Peer)
	}
}

// Ten thousand who only connect: members are served all the same, and nothing is left of them.
func TestIdleConnectionsHoldNothingUp(t *testing.T) {
	a, n := newAuthority(t), &network{t: t}
	one := n.start("n1", a.issue("n1", nil), mesh.Limits{Pending: 64, Handshake: 20 * time.Second}, whoami)
	two := n.start("n2", a.issue("n2", nil), mesh.Limits{}, nil)
	stop := make(chan struct{})
	var flood sync.WaitGroup
	for range 4 {
		flood.Go(func() {
			var mine []net.Conn
			defer func() {
				for _, c := range mine {
					_ = c.Close()
				}
			}()
			for {
				select {
				case <-stop:
					return
				case <-time.After(time.Millisecond):
				}
				if c, err := net.Dial("tcp", one.Addr().String()); err == nil {
					if mine = append(mine, c); len(mine) > 100 { // of ours, too, descriptors are few
						_ = mine[0].Close()
						mine = mine[1:]
					}
				}
			}
		})
	}
	for range 20 {
		two.Client().CloseIdleConnections() // a new connection each
		if got, err := ask(t, two, "n1"); err != nil || got != "n2" {
			t.Errorf("a member was answered %q, %v", got, err)
		}
	}
	close(stop)
	flood.Wait()
}

func TestOnePeerHasBoundedConnections(t *testing.T) {
	a, n := newAuthority(t), &network{t: t}
	const most = 4
	n.start("n1", a.issue("n1", nil), mesh.Limits{ConnsPerPeer: most}, func(m *mesh.Mesh) {
		raft := m.Protocol(mesh.Raft)
		go func() {
			for {
				c, err := raft.Accept()
				if err != nil {
					return
				}
				go func() { _, _ = io.Copy(c, c); _ = c.Close() }()
			}
		}()
		whoami(m)
	})
	two := n.start("n2", a.issue("n2", nil), mesh.Limits{}, nil)
	three := n.start("n3", a.issue("n3", nil), mesh.Limits{}, nil)
	var held []net.Conn
	for range most {
		c, err := two.Dial(t.Context(), "n1", mesh.Raft)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := c.Write([]byte("x")); err != nil {
			t.Fatal(err)
		}
		if _, err := io.ReadFull(c, make([]byte, 1)); err != nil { // it has been handed over, and counts
			t.Fatal(err)
		}
		held = append(held, c)
	}
	if c, err := two.Dial(t.Context(), "n1", mesh.Raft); err == nil && !broken(t, c) {
		t.Error("one connection too many")
	}
	if got, err := ask(t, three, "n1"); err != nil || got != "n3" {
		t.Errorf("another node was answered %q, %v", got, err)
	}
	for _, c := range held {
		_ = c.Close()
	}
	deadline := time.Now().Add(limit)
	for {
		got, err := ask(t, two, "n1")
		if err == nil && got == "n2" {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("with room again: %q, %v", got, err)
		}
		runtime.Gosched()
	}
}

// A peer that takes requests and does not answer delays nobody else.
func TestHangingPeer(t *testing.T) {
	a, n := newAuthority(t), &network{t: t}
	one := n.start("n1", a.issue("n1", nil), mesh.Limits{}, nil)
	hang := make(chan struct{})
	n.start("n2", a.issue("n2", nil), mesh.Limits{}, func(m *mesh.Mesh) {
		m.HandleFunc("GET /whoami", func(http.ResponseWriter, *http.Request) { <-hang })
	})
	n.start("n3", a.issue("n3", nil), mesh.Limits{}, whoami)
	var waiting sync.WaitGroup
	for range 300 { // more than there may be connections
		waiting.Go(func() {
			ctx, cancel := context.WithTimeout(t.Context(), limit)
			defer cancel()
			req, err := http.NewRequestWithContext(ctx, http.MethodGet, mesh.URL("n2", "/whoami"), nil)
			if err != nil {
				return
			}
			if resp, err := one.Client().Do(req); err == nil {
				_ = resp.Body.Close()
			}
		})
	}
	for range 10 {
		if got, err := ask(t, one, "n3"); err != nil || got != "n1" {
			t.Errorf("beside a hanging peer: %q, %v", got, err)
		}
	}
	close(hang)
	waiting.Wait()
}

// Nothing of a mesh runs after its end.
func TestCloseLeavesNothing(t *testing.T) {
	before := runtime.NumGoroutine()
	func() {
		a := newAuthority(t)
		at := map[string]string{}
		resolve := func(node string) (string, bool) { address, ok := at[node]; return address, ok }
		var meshes []*mesh.Mesh
		for i := range 2 {
			l, err := net.Listen("tcp", "127.0.0.1:0")
			if err != nil {
				t.Fatal(err)
			}
			node := fmt.Sprint("n", i+1)
			at[node] = l.Addr().String()
			m := mesh.New(l, mesh.Config{Node: node, Credentials: a.issue(node, nil), Resolve: resolve})
			whoami(m)
			m.Protocol(mesh.Raft)
			go func() { _ = m.Serve() }()
			meshes = append(meshes, m)
		}
		for range 5 {
			if _, err := ask(t, meshes[0], "n2"); err != nil {
				t.Fatal(err)
			}
			if _, err := meshes[1].Dial(t.Context(), "n1", mesh.Raft); err != nil {
				t.Fatal(err)
			}
			if _, err := net.Dial("tcp", at["n1"]); err != nil { // a handshake that never ends
				t.Fatal(err)
			}
		}
		for _, m := range meshes {
			if err := m.Close(); err != nil {
				t.Error(err)
			}
		}
	}()
	for deadline := time.Now().Add(limit); runtime.NumGoroutine() > before; runtime.Gosched() {
		if time.Now().After(deadline) {
			stacks := make([]byte, 1<<20)
			t.Fatalf("%d goroutines before, %d after\n%s", before, runtime.NumGoroutine(), stacks[:runtime.Stack(stacks, true)])
		}
	}
}
