# The shop as the tests run it: every version is the same binary, which announces that it was made.

variable "version" { type = string }
variable "artifact" { type = string }
variable "births" { type = string }
variable "listen" { type = string }

variable "driver" {
  type    = string
  default = "proxy"
}
variable "count" {
  type    = number
  default = 2
}
variable "strategy" {
  type    = string
  default = "blue_green"
}
variable "max_surge" {
  type    = string
  default = ""
}
variable "max_unavailable" {
  type    = string
  default = ""
}
variable "bake" {
  type    = string
  default = "1s"
}
variable "keep_previous" {
  type    = string
  default = "5m"
}
variable "progress_deadline" {
  type    = string
  default = "30s"
}
variable "never_healthy" {
  type    = bool
  default = false
}
variable "unhealthy_after" {
  type    = string
  default = ""
}
variable "crash" {
  type    = string
  default = ""
}
variable "banner" {
  type    = string
  default = "hello"
}

config "shop" {
  data = jsonencode({ banner = var.banner, fault = { crash = var.crash } })
}

service "shop" {
  count = var.count

  artifact {
    source = var.artifact
  }

  compute "process" {
    command = ["./announce", var.births, "./shop", "-listen", "127.0.0.1:${port.http}"]
  }

  port "http" {}

  env = {
    SHOP_VERSION         = var.version
    SHOP_NEVER_HEALTHY   = tostring(var.never_healthy)
    SHOP_UNHEALTHY_AFTER = var.unhealthy_after
  }

  mount "config" {
    config = "shop"
    path   = "etc/shop.json"
  }

  health "http" {
    port        = "http"
    path        = "/healthz"
    interval    = "200ms"
    timeout     = "2s"
    healthy_for = "400ms"
    failures    = 2
  }

  route "shop" {
    driver = var.driver
    listen = var.listen
    port   = "http"
    drain  = "5s"
  }

  rollout {
    strategy          = var.strategy
    max_surge         = var.max_surge
    max_unavailable   = var.max_unavailable
    bake              = var.bake
    keep_previous     = var.keep_previous
    progress_deadline = var.progress_deadline

    smoke {
      path     = "/api/products"
      contains = "Enamel mug"
    }
  }
}
