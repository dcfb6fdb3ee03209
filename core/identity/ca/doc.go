// Package ca is a cluster's certificate authority: an ECDSA P-256 key, which every TLS stack takes, and a
// self-signed certificate that may sign for its own cluster only (a critical name constraint on the host
// of the URIs in it) and no further authority.
//
// The authority is one PEM file, certificate and key together, so that no crash can leave a half of it.
// It is on voters only; it is never in the store.
package ca
