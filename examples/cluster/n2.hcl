# Node 2 of three on one machine, to try a cluster. On machines of their own each listens on its own address,
# the data directory is /var/lib/instar, and neither ports nor user ids need ranges of their own.

data_dir = "/tmp/instar-n2"

node {
  name = "n2"
}

cluster {
  listen = "127.0.0.2:4748"
}

compute "process" "local" {
  port_range = "22000-22999"
  uid_range  = "2031200000-2031209999"
}
