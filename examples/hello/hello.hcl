# The smallest service that does something useful: one binary, two instances, one route.
#
#   go build -o build/hello/hello ./examples/hello
#   instar apply examples/hello/hello.hcl
#   curl http://127.0.0.1:8000/
#
# Then change the greeting and apply again, with a loop of curl running beside it.

variable "greeting" {
  type    = string
  default = "hello"
}

service "hello" {
  count = 2

  artifact {
    source = "../../build/hello/hello"
  }

  compute "process" {
    command = ["./hello", "127.0.0.1:${port.http}"]
  }

  port "http" {}

  env = {
    GREETING = var.greeting
  }

  health "http" {
    path        = "/"
    interval    = "500ms"
    healthy_for = "1s"
  }

  route "hello" {
    listen = "127.0.0.1:8000"
  }

  rollout {
    bake          = "10s"
    keep_previous = "5m"
  }
}
