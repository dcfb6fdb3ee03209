config "c" {
  data = "x"
}
config "c" {
  data = "y"
}
config "d" {}
config "e" {
  data        = "x"
  data_base64 = "eA=="
}
config "f" {
  data_base64 = "%"
}

service "web" {
  compute "docker" {}
  port "http" {}
  port "http" {}
  artifact {}
  artifact {}
  mount "config" {
    config = "c"
    path   = "a/b"
  }
  mount "config" {
    config = "x"
    path   = "a//b"
  }
  mount "config" {
    config = "cc"
    path   = "b"
  }
  mount "secret" {
    config = "c"
    path   = "d"
  }
  health "grpc" {}
  health "htp" {}
  rollout {}
  rollout {}
}
service "web" {}
