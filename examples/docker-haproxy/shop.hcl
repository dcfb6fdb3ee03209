# The example shop in containers, behind HAProxy: three instances, replaced blue-green.
#
#   instar apply shop.hcl -var version=1

variable "version" {
  type        = string
  description = "which image to run: shop:VERSION"
}

service "shop" {
  count = 3

  # A tag that no registry knows is pinned to the image's id at apply.
  artifact {
    source = "shop:${var.version}"
  }

  compute "docker" {
    command   = ["-listen", ":${port.http}"]
    user      = "1000"
    read_only = true
    cap_drop  = ["ALL"]
  }

  # The number inside; the engine publishes it at a free one of 127.0.0.1.
  port "http" {
    number = 8080
  }

  resources {
    memory = "128MiB"
  }

  env = {
    SHOP_BANNER = "Good things, from a container"
  }

  health "http" {
    port        = "http"
    path        = "/healthz"
    interval    = "500ms"
    timeout     = "2s"
    healthy_for = "1s"
    failures    = 2
  }

  route "shop" {
    driver = "haproxy"
    listen = "127.0.0.1:8080"
    port   = "http"
    drain  = "10s"
  }

  rollout {
    bake              = "5s"
    keep_previous     = "10m"
    progress_deadline = "30s"
    max_error_rate    = 0.05

    smoke {
      path     = "/api/products"
      contains = "Enamel mug"
    }
  }
}
