// Package wire carries the driver contracts of package sdk over gRPC.
//
// Every kind has the same files: NAME_client.go implements the contract by calling the generated client,
// NAME_server.go implements the generated server by calling the contract, NAME_convert.go maps the types
// in both directions. Callbacks are server streams; typed errors travel as status details (error.go);
// contexts, with their deadlines, are gRPC's own. plugin.go fits both ends into go-plugin, identity.go
// holds the key pairs of one launch.
//
// A driver does not need this package: it hands itself to serve.Run.
package wire
