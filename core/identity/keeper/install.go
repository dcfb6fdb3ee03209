package keeper

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"fmt"
	"net"
	"strings"

	"github.com/instarhq/instar/core/identity/keyfile"
)

// Request makes a new key and a certificate request, PEM. addresses are the host names and IP addresses
// that clients of the API reach this node by; its own name and those of the loopback are added.
func (k *Keeper) Request(node string, addresses []string) ([]byte, error) {
	k.files.Lock()
	defer k.files.Unlock()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, fmt.Errorf("make the node's key: %w", err)
	}
	der, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return nil, fmt.Errorf("encode the node's key: %w", err)
	}
	template := &x509.CertificateRequest{Subject: pkix.Name{CommonName: node}}
	template.DNSNames, template.IPAddresses = split(append([]string{node, "localhost", "127.0.0.1", "::1"}, addresses...))
	req, err := x509.CreateCertificateRequest(rand.Reader, template, key)
	if err != nil {
		return nil, fmt.Errorf("make the certificate request: %w", err)
	}
	// The key is durable before anybody signs it: a certificate without its key would be lost.
	if err := keyfile.Write(k.file(nextFile), pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der}), keyfile.Secret); err != nil {
		return nil, err
	}
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE REQUEST", Bytes: req}), nil
}

// split sorts addresses into names and numbers, each once. Ports and what is no address for others
// (an unspecified IP, nothing at all) are left out.
func split(addresses []string) (names []string, ips []net.IP) {
	seen := map[string]bool{}
	for _, a := range addresses {
		if host, _, err := net.SplitHostPort(a); err == nil {
			a = host
		}
		a = strings.ToLower(strings.Trim(a, "[]"))
		if a == "" || seen[a] {
			continue
		}
		seen[a] = true
		switch ip := net.ParseIP(a); {
		case ip == nil:
			names = append(names, a)
		case !ip.IsUnspecified():
			ips = append(ips, ip)
		}
	}
	return names, ips
}

// Install takes the certificate that answers the last Request, with the CA's bundle, and uses it from the
// next handshake on.
func (k *Keeper) Install(certPEM string, bundle []string) error {
	k.files.Lock()
	defer k.files.Unlock()
	key, err := keyfile.ReadSecret(k.file(nextFile))
	if err != nil {
		return fmt.Errorf("install a certificate: no request is open: %w", err)
	}
	authorities := strings.Join(bundle, "")
	next, err := assemble([]byte(certPEM), key, authorities)
	if err != nil {
		return fmt.Errorf("install a certificate: %w", err)
	}
	// Bundle first: it must hold old and new while the certificate is replaced. The certificate decides
	// which key is the node's, so a crash between the last two is completed by Open.
	if err := keyfile.Write(k.file(caFile), []byte(authorities), keyfile.Public); err != nil {
		return err
	}
	if err := keyfile.Write(k.file(certFile), []byte(certPEM), keyfile.Public); err != nil {
		return err
	}
	if err := keyfile.Rename(k.file(nextFile), k.file(keyFile)); err != nil {
		return fmt.Errorf("install a certificate: %w", err)
	}
	k.set(next)
	return nil
}
