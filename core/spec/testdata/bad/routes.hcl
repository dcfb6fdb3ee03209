service "a" {
  compute "docker" {}
  port "http" {}
  health "tcp" {}

  route "one" {
    listen = ":8080"
    host   = "a.example"
  }
  route "same" {
    listen = ":8080"
    host   = "A.example."
    path   = "/"
  }
  route "tls" {
    listen = ":8080"
    host   = "b.example"
    tls {
      certificate = "c"
      key         = ""
    }
  }
  route "tcp" {
    listen   = ":8080"
    protocol = "tcp"
    host     = "x"
  }
  route "narrow" {
    listen = "127.0.0.1:7070"
  }
  route "wide" {
    listen = ":7070"
  }
  route "elsewhere" {
    target = "edge"
    listen = "127.0.0.1:9090"
  }
  route "apart" {
    target = "inner"
    listen = "127.0.0.1:9090"
  }
  route "bad" {
    listen   = "8080"
    protocol = "quic"
    host     = "*.example:80"
    path     = "/a/../b"
    port     = "htp"
  }
  route "v6" {
    listen = "[::1]:080"
  }

  rollout {
    smoke {
      route  = "on"
      method = "BREW"
      path   = "x y"
    }
    smoke {
      route = "tcp"
    }
  }
}

service "b" {
  compute "docker" {}
  port "http" {}
  health "tcp" {}
  route "one" {
    listen = ":9999"
  }
}
