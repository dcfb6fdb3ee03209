// Package node builds instar's binaries and runs a real instard for tests, the demo and benchmarks: it
// starts, kills and restarts the process, waits for it to answer, and takes everything down by pid.
package node
