# Node 1 of three on one machine, to try a cluster. On machines of their own each listens on its own address,
# the data directory is /var/lib/instar, and neither ports nor user ids need ranges of their own.

data_dir = "/tmp/instar-n1"

node {
  name = "n1"
}

cluster {
  listen = "127.0.0.1:4748"
}

compute "process" "local" {
  port_range = "21000-21999"
  uid_range  = "2031100000-2031109999"
}

# Where the three are machines of their own, each has a proxy, and carries every route.
traffic "proxy" "local" {}
