# The service that is replaced again and again.

variable "version" { type = string }
variable "artifact" { type = string }
variable "births" { type = string }

service "shop" {
  count = 3

  artifact {
    source = var.artifact
  }

  compute "process" {
    command = ["./announce", var.births, "./shop", "-listen", "0.0.0.0:${port.http}"]
  }

  port "http" {}

  env = {
    SHOP_VERSION = var.version
  }

  health "http" {
    port        = "http"
    path        = "/healthz"
    interval    = "300ms"
    timeout     = "2s"
    healthy_for = "600ms"
    failures    = 3
  }

  route "shop" {
    listen = ":8080"
    port   = "http"
    drain  = "5s"
  }

  rollout {
    bake              = "2s"
    keep_previous     = "4s"
    progress_deadline = "30s"
  }
}
