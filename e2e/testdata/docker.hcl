# The shop in containers, as the tests run it: every version is the same image.

variable "version" { type = string }
variable "image" { type = string }
variable "listen" { type = string }

variable "keep_previous" {
  type    = string
  default = "1s"
}
variable "bake" {
  type    = string
  default = "1s"
}
variable "driver" {
  type    = string
  default = "proxy"
}

variable "read_only" {
  type    = bool
  default = true
}

config "shop" {
  data = jsonencode({ banner = "in a container" })
}

service "shop" {
  count = 2

  artifact {
    source = var.image
  }

  compute "docker" {
    command     = ["-listen", ":${port.http}"]
    working_dir = "/"
    read_only   = var.read_only
    user        = "1000"
    cap_drop    = ["ALL"]
  }

  port "http" {
    number = 8080
  }

  resources {
    memory = "256MiB"
  }

  env = {
    SHOP_VERSION = var.version
  }

  mount "config" {
    config = "shop"
    path   = "etc/shop.json"
  }

  # When dockerd starts it builds its rules of the packet filter anew, and for about 220 ms published ports refuse
  # connections, those of all instances at the same time; on two cores that are twenty times overbooked it has been more than
  # two seconds. A check must be allowed to fail for longer than that, or a restart of dockerd makes the whole service
  # unhealthy: here it is ten seconds. An instance that ends is found by the engine's event, at once.
  health "http" {
    port        = "http"
    path        = "/healthz"
    interval    = "500ms"
    timeout     = "2s"
    healthy_for = "400ms"
    failures    = 20
  }

  route "shop" {
    driver = var.driver
    listen = var.listen
    port   = "http"
    drain  = "5s"
  }

  rollout {
    bake              = var.bake
    keep_previous     = var.keep_previous
    progress_deadline = "90s"

    smoke {
      path     = "/api/products"
      contains = "Enamel mug"
    }
  }
}
