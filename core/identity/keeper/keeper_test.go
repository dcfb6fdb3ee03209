package keeper_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/instarhq/instar/core"
	"github.com/instarhq/instar/core/identity"
	"github.com/instarhq/instar/core/identity/ca"
	"github.com/instarhq/instar/core/identity/keeper"
)

const cluster = "0123456789abcdef"

func newCA(t *testing.T, id string) *ca.CA {
	t.Helper()
	c, err := ca.New("prod", id, time.Now().Add(-2*ca.NodeLifetime)) // old enough to have signed what is expired
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// member makes a node's identity under an authority, signed at a time.
func member(t *testing.T, authority *ca.CA, node string, at time.Time) *keeper.Keeper {
	t.Helper()
	k := open(t, t.TempDir())
	install(t, k, authority, node, at)
	return k
}

func open(t *testing.T, dir string) *keeper.Keeper {
	t.Helper()
	k, err := keeper.Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	return k
}

func install(t *testing.T, k *keeper.Keeper, authority *ca.CA, node string, at time.Time) {
	t.Helper()
	if err := k.Install(sign(t, k, authority, node, at), []string{authority.PEM()}); err != nil {
		t.Fatal(err)
	}
}

func sign(t *testing.T, k *keeper.Keeper, authority *ca.CA, node string, at time.Time) string {
	t.Helper()
	csr, err := k.Request(node, []string{"192.0.2.1:4747", "api.example.org", "0.0.0.0", ""})
	if err != nil {
		t.Fatal(err)
	}
	issued, err := authority.SignNode(csr, node, at)
	if err != nil {
		t.Fatal(err)
	}
	return issued.PEM
}

func serial(t *testing.T, k *keeper.Keeper) string {
	t.Helper()
	self, ok := k.Self()
	if !ok {
		t.Fatal("there is no certificate")
	}
	return self.Serial
}

func TestIdentityIsKept(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "identity")
	k := open(t, dir)
	if k.Installed() || k.Bundle() != nil || k.Leaf() != nil {
		t.Error("an empty directory has an identity")
	}
	if err := k.SetBundle(nil); core.CodeOf(err) != core.CodeUnavailable {
		t.Errorf("a bundle without a certificate: %v", err)
	}
	authority := newCA(t, cluster)
	changed := k.Changed()
	install(t, k, authority, "n1", time.Now())
	select {
	case <-changed:
	default:
		t.Error("the change is not told")
	}
	again := open(t, dir)
	if serial(t, again) != serial(t, k) || strings.Join(again.Bundle(), "") != authority.PEM() {
		t.Error("another identity after a restart")
	}
	leaf := again.Leaf()
	for _, host := range []string{"n1", "localhost", "127.0.0.1", "192.0.2.1", "api.example.org"} {
		if err := leaf.VerifyHostname(host); err != nil {
			t.Errorf("the API cannot be reached as %s: %v", host, err)
		}
	}
	if len(leaf.IPAddresses) != 3 {
		t.Errorf("addresses %v", leaf.IPAddresses)
	}
	if info, err := os.Stat(filepath.Join(dir, "node.key")); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("the key file is %v, %v", info.Mode(), err)
	}
}

// A renewal that is cut off anywhere leaves the old identity or the new one, never none.
func TestRenewalSurvivesACrash(t *testing.T) {
	authority := newCA(t, cluster)
	dir := t.TempDir()
	k := open(t, dir)
	install(t, k, authority, "n1", time.Now())
	before := serial(t, k)

	cert := sign(t, k, authority, "n1", time.Now()) // asked, never installed
	if got := serial(t, open(t, dir)); got != before {
		t.Fatalf("serial %s after a request without an answer, want %s", got, before)
	}
	// The certificate is there, its key has not been renamed yet.
	if err := os.WriteFile(filepath.Join(dir, "node.crt"), []byte(cert), 0o644); err != nil {
		t.Fatal(err)
	}
	if got := serial(t, open(t, dir)); got == before {
		t.Fatal("the renewal was not completed")
	}
	if _, err := os.Stat(filepath.Join(dir, "node.key.next")); !os.IsNotExist(err) {
		t.Errorf("the next key is still there: %v", err)
	}
	if got := serial(t, open(t, dir)); got == before {
		t.Fatal("the renewal was lost again")
	}
}

func TestDamageIsRecognised(t *testing.T) {
	tests := map[string]struct {
		damage func(t *testing.T, dir string)
		code   core.Code
	}{
		"key cut off":      {func(t *testing.T, dir string) { truncate(t, filepath.Join(dir, "node.key")) }, core.CodeCorrupt},
		"cert cut off":     {func(t *testing.T, dir string) { truncate(t, filepath.Join(dir, "node.crt")) }, core.CodeCorrupt},
		"CA cut off":       {func(t *testing.T, dir string) { truncate(t, filepath.Join(dir, "ca.crt")) }, core.CodeCorrupt},
		"key for everyone": {func(t *testing.T, dir string) { chmod(t, filepath.Join(dir, "node.key")) }, core.CodeDenied},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			install(t, open(t, dir), newCA(t, cluster), "n1", time.Now())
			tt.damage(t, dir)
			if _, err := keeper.Open(dir); core.CodeOf(err) != tt.code {
				t.Errorf("opened, %v", err)
			}
		})
	}
}

func truncate(t *testing.T, path string) {
	t.Helper()
	if err := os.Truncate(path, 100); err != nil {
		t.Fatal(err)
	}
}

func chmod(t *testing.T, path string) {
	t.Helper()
	if err := os.Chmod(path, 0o644); err != nil {
		t.Fatal(err)
	}
}

func TestInstallRefuses(t *testing.T) {
	authority, other := newCA(t, cluster), newCA(t, cluster)
	k := member(t, authority, "n1", time.Now())
	before := serial(t, k)
	stranger := member(t, authority, "n2", time.Now())
	tests := map[string]struct {
		cert   string
		bundle string
	}{
		"another's key":   {ca.Encode(stranger.Leaf()), authority.PEM()},
		"another CA":      {sign(t, k, authority, "n1", time.Now()), other.PEM()},
		"no CA":           {sign(t, k, authority, "n1", time.Now()), ""},
		"no certificate":  {"", authority.PEM()},
		"the CA's itself": {authority.PEM(), authority.PEM()},
	}
	for name, tt := range tests {
		if err := k.Install(tt.cert, []string{tt.bundle}); err == nil {
			t.Errorf("%s is installed", name)
		}
	}
	if err := k.SetBundle([]string{other.PEM()}); err == nil {
		t.Error("a bundle that the own certificate is not under is taken")
	}
	if serial(t, k) != before {
		t.Error("a refused certificate is used")
	}
}

func TestPeerIsChecked(t *testing.T) {
	authority := newCA(t, cluster)
	other := newCA(t, "fedcba9876543210")
	k := member(t, authority, "n1", time.Now())
	n2 := member(t, authority, "n2", time.Now())
	csr, err := n2.Request("n2", nil)
	if err != nil {
		t.Fatal(err)
	}
	issued, err := authority.SignClient(csr, "00112233445566aa", time.Now(), time.Hour)
	if err != nil {
		t.Fatal(err)
	}
	client := parse(t, issued.PEM)
	if id, err := k.VerifyClient(client); err != nil || id != "00112233445566aa" {
		t.Errorf("client %q, %v", id, err)
	}
	if _, err := k.VerifyClient(n2.Leaf()); core.CodeOf(err) != core.CodeDenied || !strings.Contains(err.Error(), "nodes are no clients") {
		t.Errorf("a node as a client: %v", err)
	}
	if _, err := k.VerifyClient(member(t, other, "n2", time.Now()).Leaf()); core.CodeOf(err) != core.CodeDenied {
		t.Errorf("another cluster's node as a client: %v", err)
	}
	if _, err := identity.PeerOf(client); core.CodeOf(err) != core.CodeDenied {
		t.Errorf("a client as a node: %v", err)
	}
}
