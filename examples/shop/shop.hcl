# The example workload: a small web shop, three instances, replaced blue-green.
#
#   instar apply shop.hcl -var version=1

variable "version" {
  type        = string
  description = "which build to run: build/shop/VERSION/shop"
}

variable "banner" {
  type    = string
  default = "Good things, freshly replaced"
}

variable "listen" {
  type        = string
  default     = "127.0.0.1:8080"
  description = "where customers find the shop"
}

variable "count" {
  type    = number
  default = 3
}

variable "bake" {
  type        = string
  default     = "5s"
  description = "how long a new revision is watched under traffic before the old one may go"
}

variable "progress_deadline" {
  type        = string
  default     = "30s"
  description = "how long a new revision may take to become healthy"
}

# The faults make a revision misbehave, to see what a rollout does about it.
variable "never_healthy" {
  type    = bool
  default = false
}

variable "unhealthy_after" {
  type    = string
  default = ""
}

config "shop" {
  data = jsonencode({ banner = var.banner })
}

service "shop" {
  count = var.count

  artifact {
    source = "../../build/shop/${var.version}/shop"
  }

  compute "process" {
    command = ["./shop", "-listen", "127.0.0.1:${port.http}"]
  }

  port "http" {}

  resources {
    memory = "128MiB"
  }

  env = {
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
    interval    = "500ms"
    timeout     = "1s"
    healthy_for = "1s"
    failures    = 2
  }

  route "shop" {
    driver = "proxy"
    listen = var.listen
    port   = "http"
    drain  = "10s"
  }

  rollout {
    strategy          = "blue_green"
    bake              = var.bake
    keep_previous     = "10m"
    progress_deadline = var.progress_deadline
    max_error_rate    = 0.05

    smoke {
      route    = "shop"
      path     = "/api/products"
      contains = "Enamel mug"
    }
  }
}
