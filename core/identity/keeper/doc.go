// Package keeper keeps one node's identity: its key, its certificate and the certificates of the cluster's
// CA, in a directory of their own:
//
//	node.key       the key in use, mode 0600
//	node.key.next  the key of a certificate that has been asked for; it becomes node.key with it
//	node.crt       the certificate
//	ca.crt         what other certificates are checked against: the CA that signs first, then older ones
//
// The TLS configurations that it gives read what is kept at every handshake, so that a renewal, a change of
// the CA and a revocation hold for the next connection without a restart.
package keeper
