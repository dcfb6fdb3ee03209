# Node 3 of three on one machine, to try a cluster. On machines of their own each listens on its own address,
# the data directory is /var/lib/instar, and neither ports nor user ids need ranges of their own.

data_dir = "/tmp/instar-n3"

node {
  name = "n3"
}

cluster {
  listen = "127.0.0.3:4748"
}

compute "process" "local" {
  port_range = "23000-23999"
  uid_range  = "2031300000-2031309999"
}
