// Package socket speaks to HAProxy's master socket: it lists the worker processes, sends runtime commands
// to any of them, old ones included, and reads what they answer.
package socket
