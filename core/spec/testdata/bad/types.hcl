service "web" {
  count = "many"
  grace = 30
  env   = ["A"]
  compute "process" {
    command = "ls -l"
    nice    = { a = 1 }
    limits  = [{ name = "a", hard = 1 }]
    labels  = { a = ["x"] }
  }
  resources {
    cpu    = 0.5
    memory = "64 megabytes"
  }
  health "http" {
    port     = "http"
    status   = [200.5]
    interval = "5 seconds"
    failures = 0
  }
  port "http" {
    number = "x"
  }
}
