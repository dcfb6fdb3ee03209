// Package client is the Go client of instar's API.
//
//	c, err := client.New("unix:///run/instar/instar.sock")
//	status, err := c.Status(ctx)
//
// Errors are *core.Error: problems of the API decode to what the server raised, and a daemon that does
// not answer is ErrUnreachable, which names the address that was tried. Reads are repeated on transient
// errors. Writes carry a request id, so they are repeated too and still happen once.
package client
