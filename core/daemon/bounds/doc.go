// Package bounds keeps clients of an HTTP server that mean harm, or have lost their way, from harming the
// others: how many connections there are and which go first, how long a body may take to come and an answer
// to be taken, how much is logged of it all.
package bounds
