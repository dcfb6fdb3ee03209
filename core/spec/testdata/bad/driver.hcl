service "a" {
  compute "proces" {
    command = ["x"]
  }
}

service "b" {
  compute "process" {
    comand = ["x"]
  }
}

service "c" {
  compute "process" {
    command = null
    env {
      A = 1
    }
  }
}

service "d" {
  compute "broken" {}
}

service "e" {
  compute "baddefault" {}
}

service "f" {
  compute "process" {
    command = ["x"]
  }
  port "http" {}
  route "f" {
    driver = "haproxi"
    listen = ":1"
  }
  route "g" {
    listen = ":2"
    config {
      maxbody = 1
    }
    config {}
  }
}

service "g" {}

service "h" {
  compute "docker" {}
  compute "docker" {}
}
