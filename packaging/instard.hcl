# Configuration of instard. The daemon reads this file at its start: systemctl restart instard, which
# touches neither drivers nor instances.

data_dir = "/var/lib/instar"

# Drivers are found in these folders, in plugins of the data directory, and beside instard itself. A driver's
# binary is called instar-KIND-NAME. `instar driver verify BINARY` checks one before you trust it, and
# `instar driver install BINARY` puts it in its place.
# plugin_dirs = ["/usr/local/lib/instar"]

# The name of a cluster that is begun here, and of this node; by default the host's.
cluster = "main"

# node {
#   name   = "n1"
#   labels = { rack = "a" }
# }

# A cluster of several nodes: docs/cluster.md. Without this block the node is a cluster of its own.
# cluster {
#   listen = "10.0.0.1:4748"         # where only members speak; other machines must reach it
# }

api {
  socket = "/run/instar/instar.sock" # for the local administrator; where the client looks first
  # listen = "10.0.0.1:4747"         # HTTPS with the cluster's CA; without a cluster block loopback only, and no TLS
}

# telemetry {
#   listen = "127.0.0.1:9290"        # answers Prometheus without credentials (docs/observability.md)
# }

log {
  level = "info"
}

# The targets: a driver, a name, and what the driver wants to know (`instar driver docs NAME`).

compute "process" "local" {}

traffic "proxy" "local" {}
