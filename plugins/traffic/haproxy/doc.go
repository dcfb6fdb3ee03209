// Package haproxy is the traffic driver for HAProxy 2.4 and later. DESIGN.md tells how it is built, and
// guide.md what HAProxy itself needs.
package haproxy
