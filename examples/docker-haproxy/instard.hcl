# One node, with the Docker Engine and the HAProxy of this machine.

data_dir = "/tmp/instar-shop/instar"

node {
  name = "n1"
}

api {
  socket = "/tmp/instar-shop/instar.sock"
}

# The engine at unix:///var/run/docker.sock; ports are published on 127.0.0.1.
compute "docker" "local" {}

traffic "haproxy" "edge" {
  master_socket = "/tmp/instar-shop/haproxy.sock"
  directory     = "/tmp/instar-shop/haproxy"
}
