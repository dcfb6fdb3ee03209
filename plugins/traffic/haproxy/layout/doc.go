// Package layout decides where in HAProxy everything stands: which prepared backend a revision has and
// which slot an endpoint, and what configuration and map follow from that. It is pure but for Load and
// Save.
package layout
