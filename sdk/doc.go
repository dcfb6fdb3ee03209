// Package sdk is what a driver for instar is written against: the contracts of the three kinds, their
// types, and the typed errors that survive the wire.
//
// A driver is a program of its own. It implements Compute, Traffic or Metrics and hands itself to
// serve.Run; instard finds the program in a plugin directory, checks it against its lock file, launches
// one process for each configured target, and speaks to it over gRPC on a unix socket. The processes
// stay when instard restarts or dies, and are attached to again.
//
// Rules for every driver:
//
//   - Context first, everywhere; a cancelled context ends the call soon, and leaves nothing half made.
//   - Errors are made with this package's constructors (NotFound, Conflict, Unavailable, InvalidConfig,
//     Unsupported); any other error counts as internal.
//   - All methods are safe for concurrent use.
//   - State that must outlive the process lives at the backend or in ConfigureRequest.StateDir, written
//     by write, fsync, rename.
//   - Log with hclog through serve.Logger; standard error goes to a file, standard output is taken.
//
// Package sdktest holds the conformance suites that a driver must pass.
package sdk
