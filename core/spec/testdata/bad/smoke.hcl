service "a" {
  compute "docker" {}
  port "http" {}
  health "tcp" {}
  route "api" {
    listen = ":80"
    path   = "/api"
  }
  route "raw" {
    listen   = ":81"
    protocol = "tcp"
  }
  rollout {
    smoke {
      route    = "api"
      path     = "/apis"
      status   = [600]
      timeout  = "1h"
      contains = join("", [for i in range(1000) : "xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx"])
    }
    smoke {
      route = "raw"
    }
    smoke {
      route  = "ap"
      method = "BREW"
      path   = "x y"
    }
  }
}
