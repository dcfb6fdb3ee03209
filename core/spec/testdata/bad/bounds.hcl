config "c" {
  data = "x"
}

config "C" {
  data = "x"
}

service "Web" {
  count = 100001
  grace = "25h"
  artifact {
    source   = "https://example.com/a\nb"
    checksum = "md5:1"
  }
  compute "docker" {
    target = "no such"
  }
  port "http" {
    number = 70000
  }
  port "a" {
    number = 80
  }
  port "b" {
    number = 80
  }
  port "c_d" {}
  resources {
    cpu    = -1
    memory = 64
  }
  env = {
    "A-B"          = "x"
    INSTAR_SERVICE = "x"
    NUL            = "a\u0000b"
    OK             = "$${port.nope} $${instance.name}"
  }
  mount "config" {
    config = "c"
    path   = "../etc/passwd"
  }
  mount "config" {
    config = "c"
    path   = "/etc/passwd"
  }
  mount "config" {
    config = "c"
    path   = "."
  }
  mount "config" {
    config = "c"
    path   = "etc"
  }
  mount "config" {
    config = "c"
    path   = "etc/x"
  }
  health "http" {
    port        = "nope"
    path        = "healthz"
    status      = [99]
    interval    = "10ms"
    timeout     = "2h"
    healthy_for = "11m"
    failures    = 101
  }
  health "tcp" {
    port = "a"
    path = "/x"
  }
  rollout {
    bake              = "1000h"
    keep_previous     = "10000h"
    progress_deadline = "1ms"
    max_error_rate    = 5
  }
}
