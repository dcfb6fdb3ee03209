// Package handover is how one process of the proxy gives its listening sockets and its state to the next
// one, and how the two stay in touch until the older has ended.
//
// The process in charge of a directory holds a lock on it and has a unix socket there, the door. A process
// that starts connects to the door (Dial); what they say to each other is the driver's matter, this package
// carries messages and sockets.
package handover
