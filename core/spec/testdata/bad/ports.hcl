service "none" {
  compute "docker" {}
  health "tcp" {}
  rollout {
    smoke {}
  }
}
service "two" {
  compute "docker" {}
  port "a" {}
  port "b" {}
  health "tcp" {}
  route "r" {
    listen = ":80"
  }
  route "s" {
    listen = ":81"
    port   = "a"
  }
  rollout {
    smoke {}
    smoke "x" "y" {}
  }
}
