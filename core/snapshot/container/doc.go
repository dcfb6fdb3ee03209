// Package container reads and writes the format of snapshot files; package snapshot says what is in them.
package container
