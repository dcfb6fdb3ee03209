package identity

import (
	"crypto/x509"
	"math/big"
	"net/url"
	"strings"
	"time"

	"github.com/instarhq/instar/core"
)

// scheme is that of the URIs by which certificates name whom they are for:
//
//	instar://CLUSTER-ID/node/NAME
//	instar://CLUSTER-ID/client/TOKEN-ID
//
// The cluster's id is the URI's host, so that the CA's name constraint binds it to its own cluster.
const scheme = "instar"

// What a certificate can be for.
const (
	KindNode   = "node"   // a member: servers of all ports, and clients of other members
	KindClient = "client" // a person or a pipeline: a client of the API only
)

// Name is whom a certificate is for.
type Name struct {
	Cluster string // the cluster's id, as in the log's origin
	Kind    string // KindNode or KindClient
	ID      string // the node's name, or the id of the Token object that gives the client its role
}

// URI is the name as a certificate carries it.
func (n Name) URI() *url.URL {
	return &url.URL{Scheme: scheme, Host: n.Cluster, Path: "/" + n.Kind + "/" + n.ID}
}

// String is the text of URI.
func (n Name) String() string { return n.URI().String() }

// Check refuses a name that could not be read back from a URI.
func (n Name) Check() error {
	if n.Kind != KindNode && n.Kind != KindClient {
		return core.Errorf(core.CodeInvalid, "a certificate is for a %s or a %s, not for a %q", KindNode, KindClient, n.Kind)
	}
	if err := CheckClusterID(n.Cluster); err != nil {
		return err
	}
	return core.CheckName(n.Kind, n.ID)
}

// CheckClusterID refuses what no cluster has as its id: 1 to 63 letters and digits of lower case.
func CheckClusterID(id string) error {
	if id == "" || len(id) > 63 || strings.Trim(id, "0123456789abcdefghijklmnopqrstuvwxyz") != "" {
		return core.Errorf(core.CodeInvalid, "%q is no id of a cluster", id)
	}
	return nil
}

// NameOf reads the name that a certificate carries. It must carry exactly one.
func NameOf(cert *x509.Certificate) (Name, error) {
	if len(cert.URIs) != 1 {
		return Name{}, core.Errorf(core.CodeDenied, "certificate %s names %d URIs; instar's name exactly one", Serial(cert.SerialNumber), len(cert.URIs))
	}
	u := cert.URIs[0]
	parts := strings.Split(strings.TrimPrefix(u.Path, "/"), "/")
	if u.Scheme == scheme && len(parts) == 2 {
		n := Name{Cluster: u.Host, Kind: parts[0], ID: parts[1]}
		if n.Check() == nil && n.String() == u.String() {
			return n, nil
		}
	}
	return Name{}, core.Errorf(core.CodeDenied, "certificate %s is for %q, which is no name of an instar cluster", Serial(cert.SerialNumber), u)
}

// Peer is a member at the other end of a connection, as its certificate says.
type Peer struct {
	Node      string
	ClusterID string
	Serial    string // as in core.Certificate
	NotAfter  time.Time
}

// PeerOf reads a member's certificate. It does not verify it.
func PeerOf(cert *x509.Certificate) (Peer, error) {
	n, err := NameOf(cert)
	if err != nil {
		return Peer{}, err
	}
	if n.Kind != KindNode {
		return Peer{}, core.Errorf(core.CodeDenied, "certificate %s is for %s, not for a node", Serial(cert.SerialNumber), n)
	}
	return Peer{Node: n.ID, ClusterID: n.Cluster, Serial: Serial(cert.SerialNumber), NotAfter: cert.NotAfter}, nil
}

// Serial is a serial number as core.Certificate has it.
func Serial(n *big.Int) string {
	if n == nil {
		return ""
	}
	return n.Text(16)
}
