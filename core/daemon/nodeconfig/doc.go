// Package nodeconfig reads the configuration of a node: what instard -config FILE|DIR is given.
//
//	data_dir    = "/var/lib/instar"
//	plugin_dirs = ["/usr/lib/instar/plugins"]
//	cluster     = "prod"
//
//	node {
//	  name   = "n1"
//	  labels = { rack = "a" }
//	}
//	api {
//	  socket = "/run/instar/instar.sock"
//	  listen = "127.0.0.1:4747"
//	}
//	telemetry {
//	  listen = "127.0.0.1:9290" # Prometheus is answered there without credentials
//	}
//	log {
//	  level = "info"
//	  json  = true
//	}
//	compute "process" "local" {}
//	traffic "proxy" "local" {}
//
// The blocks compute, traffic and metrics configure targets; their bodies belong to the drivers and are
// decoded against the drivers' schemas once those are known.
package nodeconfig
