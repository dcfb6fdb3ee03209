// Package driverhost finds, checks, launches, supervises and re-attaches driver processes, one for each
// configured target of a node.
//
// A Host belongs to one daemon, its processes to nobody: they go on when the daemon restarts or dies, and
// the next Host on the same state directory attaches to them. A bad driver makes its own targets unhealthy
// and nothing else: every call has a deadline, and no loop waits for two drivers.
//
// The clients that Compute, Traffic and Metrics return stay valid for the Host's life. Calls fail with
// sdk.CodeUnavailable while the process behind them is away. Streams (Watch, Logs, Usage) end with the same
// code when the process ends or is replaced by a newer binary; the caller opens them again.
//
// See DESIGN.md for the files on disk and the order of things at a crash.
package driverhost
