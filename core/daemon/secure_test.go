package daemon_test

import (
	"bufio"
	"context"
	"crypto/tls"
	"errors"
	"io"
	"net"
	"net/http"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/instarhq/instar/core"
	"github.com/instarhq/instar/core/api/client"
	"github.com/instarhq/instar/core/daemon"
)

// secureNode is a cluster of one node, whose API is served over TLS.
type secureNode struct {
	*testing.T
	address string // of the API
	local   *client.Client
	digest  string // of the CA
	admin   string // a token
}

func newSecureNode(t *testing.T) *secureNode {
	t.Helper()
	d := newDir(t)
	config := d.config()
	config.Targets, config.Listen = nil, "127.0.0.1:0"
	config.Membership = &daemon.Membership{Listen: "127.0.0.1:0", DeadAfter: time.Hour}
	made, err := daemon.New(config)
	if err != nil {
		t.Fatal(err)
	}
	started := make(chan error, 1)
	go func() { started <- made.Start(context.Background()) }()
	t.Cleanup(func() {
		if err := made.Close(); err != nil {
			t.Error(err)
		}
	})
	n := &secureNode{T: t, local: d.api()}
	n.until("the socket answers", func() error { _, err := n.local.Health(t.Context()); return err })
	joined, err := n.local.ClusterInit(t.Context(), client.Write{}, "prod")
	if err != nil {
		t.Fatal(err)
	}
	select {
	case err := <-started:
		if err != nil {
			t.Fatal(err)
		}
	case <-time.After(2 * limit):
		t.Fatal("the node does not start")
	}
	n.address = made.Address().String()
	authority, err := client.Inspect(t.Context(), "https://"+n.address)
	if err != nil {
		t.Fatal(err)
	}
	if n.digest = authority.Digest; n.digest != string(joined.CA) {
		t.Fatalf("the server shows the CA %s, init has told %s", n.digest, joined.CA)
	}
	var token client.TokenCreated
	n.until("a token is made", func() (err error) {
		token, err = n.local.CreateToken(t.Context(), client.Write{}, client.NewToken{Name: "boss", Role: core.AccessAdmin})
		return err
	})
	n.admin = token.Text
	return n
}

func (n *secureNode) until(what string, try func() error) {
	n.Helper()
	deadline := time.Now().Add(limit)
	for {
		err := try()
		if err == nil {
			return
		}
		if time.Now().After(deadline) {
			n.Fatalf("%s: %v", what, err)
		}
		select {
		case <-time.After(50 * time.Millisecond):
		case <-n.Context().Done():
		}
	}
}

func (n *secureNode) open(token string) *client.Client {
	n.Helper()
	c, err := client.Open(client.Options{Address: "https://" + n.address, Token: token, CADigest: n.digest})
	if err != nil {
		n.Fatal(err)
	}
	n.Cleanup(c.Close)
	return c
}

// dial makes a TLS connection for what no decent client would say.
func (n *secureNode) dial(config *tls.Config) (net.Conn, error) {
	config.InsecureSkipVerify = true //nolint:gosec // the server is what is tested here
	dialer := tls.Dialer{NetDialer: &net.Dialer{Timeout: limit}, Config: config}
	return dialer.DialContext(n.Context(), "tcp", n.address)
}

func TestAPIOverTLS(t *testing.T) {
	n := newSecureNode(t)
	who, err := n.open(n.admin).Whoami(t.Context())
	if err != nil || who.Principal != "token:boss" || len(who.CA) != 1 {
		t.Fatalf("%+v, %v", who, err)
	}
	if _, err := n.open("").Status(t.Context()); core.CodeOf(err) != core.CodeDenied {
		t.Errorf("nobody is answered: %v", err)
	}
	made, err := n.open(n.admin).CreateToken(t.Context(), client.Write{}, client.NewToken{Name: "look", Role: core.AccessViewer})
	if err != nil {
		t.Fatal(err)
	}
	page, err := n.local.Records(t.Context(), client.Records{Principal: "token:boss", Verb: "token.create"})
	if err != nil || len(page.Items) != 1 {
		t.Errorf("the log has %d records of token:boss, %v", len(page.Items), err)
	}
	if _, err := n.open(made.Text).Records(t.Context(), client.Records{}); core.CodeOf(err) != core.CodeDenied {
		t.Errorf("a viewer reads the audit log: %v", err)
	}
	if _, err := client.Open(client.Options{Address: "http://192.0.2.1:4747", Token: made.Text}); core.CodeOf(err) != core.CodeInvalid {
		t.Errorf("a token would be sent in the clear: %v", err)
	}
	wrong, err := client.Open(client.Options{Address: "https://" + n.address, Token: n.admin, CADigest: "sha256:" + strings.Repeat("0", 64)})
	if err != nil {
		t.Fatal(err)
	}
	defer wrong.Close()
	if _, err := wrong.Status(t.Context()); core.CodeOf(err) != core.CodeDenied {
		t.Errorf("a server under another CA is believed: %v", err)
	}
}

// What hostile clients send is refused, and the next one is answered as ever.
func TestHostileRequests(t *testing.T) {
	n := newSecureNode(t)
	authorization := "Authorization: Bearer " + n.admin + "\r\n"
	tests := map[string]struct {
		send string
		want string // the beginning of the answer; empty: none
	}{
		"no HTTP":           {"\x00\x01\x02\r\n\r\n", "HTTP/1.1 400"},
		"no host":           {"GET /v1/status HTTP/1.1\r\n\r\n", "HTTP/1.1 400"},
		"large headers":     {"GET /v1/status HTTP/1.1\r\nHost: x\r\nX: " + strings.Repeat("x", 80<<10) + "\r\n\r\n", "HTTP/1.1 431"},
		"large body":        {"POST /v1/plan HTTP/1.1\r\nHost: x\r\n" + authorization + "Content-Type: application/json\r\nContent-Length: 9000000\r\n\r\n" + strings.Repeat(" ", 9000000), "HTTP/1.1 413"},
		"negative length":   {"POST /v1/plan HTTP/1.1\r\nHost: x\r\n" + authorization + "Content-Length: -1\r\n\r\n", "HTTP/1.1 400"},
		"two lengths":       {"POST /v1/plan HTTP/1.1\r\nHost: x\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n", "HTTP/1.1 400"},
		"smuggling":         {"POST /v1/plan HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\nTransfer-Encoding: x\r\n\r\n", "HTTP/1.1 501"},
		"deep JSON":         {"POST /v1/plan HTTP/1.1\r\nHost: x\r\n" + authorization + "Content-Type: application/json\r\nContent-Length: 100000\r\n\r\n" + strings.Repeat("[", 100000), "HTTP/1.1 4"},
		"two credentials":   {"GET /v1/status HTTP/1.1\r\nHost: x\r\n" + authorization + authorization + "\r\n", "HTTP/1.1 401"},
		"a body by nobody":  {"POST /v1/plan HTTP/1.1\r\nHost: x\r\nContent-Length: 100000\r\n\r\nx", "HTTP/1.1 401"},
		"a page of the web": {"POST /v1/plan HTTP/1.1\r\nHost: x\r\nOrigin: https://evil.example\r\nContent-Length: 2\r\n\r\n{}", "HTTP/1.1 403"},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			conn, err := n.dial(&tls.Config{NextProtos: []string{"http/1.1"}})
			if err != nil {
				t.Fatal(err)
			}
			defer func() { _ = conn.Close() }()
			_ = conn.SetDeadline(time.Now().Add(limit))
			go func() { _, _ = io.WriteString(conn, tt.send) }() // the server may close before it has all
			line, err := bufio.NewReader(conn).ReadString('\n')
			if err != nil || !strings.HasPrefix(line, tt.want) {
				t.Errorf("the answer is %q, %v; want %s", line, err, tt.want)
			}
			if _, err := n.open(n.admin).Status(t.Context()); err != nil {
				t.Errorf("afterwards: %v", err)
			}
		})
	}
	for name, config := range map[string]*tls.Config{
		"TLS 1.2":       {MaxVersion: tls.VersionTLS12, MinVersion: tls.VersionTLS12},
		"of the mesh":   {NextProtos: []string{"instar-raft/1"}},
		"of the mesh 2": {NextProtos: []string{"instar-rpc/1"}},
	} {
		if conn, err := n.dial(config); err == nil {
			_ = conn.Close()
			t.Errorf("%s is taken", name)
		}
	}
	resp, err := http.Get("http://" + n.address + "/v1/status")
	if err != nil {
		t.Fatal(err)
	}
	_ = resp.Body.Close()
	if resp.StatusCode != http.StatusBadRequest {
		t.Errorf("plaintext is answered %s", resp.Status)
	}
}

// Ten thousand connections that say nothing do not keep anybody from working.
func TestIdleConnectionsSlowNobody(t *testing.T) {
	n := newSecureNode(t)
	var files unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_NOFILE, &files); err != nil {
		t.Fatal(err)
	}
	many := min(10000, int(files.Cur)/2)
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	worst := make(chan time.Duration, 1)
	failed := make(chan error, 1)
	go func() { // someone who works, a request at a time, on new connections and on an old one
		var longest time.Duration
		kept := n.open(n.admin)
		for ctx.Err() == nil {
			begin := time.Now()
			fresh, err := client.Open(client.Options{Address: "https://" + n.address, Token: n.admin, CADigest: n.digest})
			if err == nil {
				_, err = fresh.Status(ctx)
				fresh.Close()
			}
			if _, keptErr := kept.Status(ctx); err == nil {
				err = keptErr
			}
			if err != nil && ctx.Err() == nil {
				failed <- err
				return
			}
			longest = max(longest, time.Since(begin))
		}
		worst <- longest
	}()
	for range many {
		conn, err := (&net.Dialer{Timeout: limit}).DialContext(t.Context(), "tcp", n.address)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = conn.Close() })
	}
	cancel()
	select {
	case err := <-failed:
		t.Errorf("with up to %d connections: %v", many, err)
	case longest := <-worst:
		t.Logf("%d connections; two requests took %s at most", many, longest)
		if longest > 10*time.Second {
			t.Error("that is too long")
		}
	}
}

// A node without a certificate refuses to be reached from elsewhere.
func TestSecretsStayOnTheMachineWithoutACluster(t *testing.T) {
	d := newDir(t)
	made := d.start(func(c *daemon.Config) { c.Listen, c.Targets, c.AutoLock = "127.0.0.1:0", nil, false })
	c, err := client.New("http://" + made.Address().String())
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if _, err := c.Status(t.Context()); core.CodeOf(err) != core.CodeDenied {
		t.Errorf("without -dev, over loopback TCP, nobody is answered: %v", err)
	}
	token, err := d.api().CreateToken(t.Context(), client.Write{}, client.NewToken{Name: "ci", Role: core.AccessViewer})
	if err != nil {
		t.Fatal(err)
	}
	with, err := client.Open(client.Options{Address: "http://" + made.Address().String(), Token: token.Text})
	if err != nil {
		t.Fatal(err)
	}
	defer with.Close()
	if _, err := with.Status(t.Context()); err != nil {
		t.Error(err)
	}
	if _, err := daemon.New(daemon.Config{DataDir: filepath.Join(t.TempDir(), "d"), Node: "n1", Listen: "0.0.0.0:4747"}); core.CodeOf(err) != core.CodeInvalid {
		t.Errorf("a node without a cluster listens everywhere: %v", err)
	}
	if _, err := d.api().CreateToken(t.Context(), client.Write{}, client.NewToken{Name: "x", Role: core.AccessViewer, CSR: "x"}); !errors.As(err, new(*core.Error)) {
		t.Errorf("a certificate without a CA: %v", err)
	}
}
