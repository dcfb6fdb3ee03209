service "web" {
  count = 2 + 1
  grace = "20s"

  artifact {
    source   = "./${local.base}.tar.gz"
    checksum = "sha256:${upper(sha256("x"))}"
  }

  compute "process" {
    target   = "local"
    command  = ["./web", "-listen", ":${port.http}", "-id", instance.id]
    nice     = 5
    labels   = { b = "<2>", a = true }
    password = "secret"
    limits   = [{ name = "files", soft = 1e3 }, { name = "procs" }]
    extra    = { list = [1, "a", null, { x = null }] }
  }

  port "http" {}
  port "admin" {
    number = 9000
  }

  resources {
    cpu    = var.limits.cpu
    memory = var.limits.memory
  }

  env = {
    BANNER = local.banner
    PORT   = port.admin
    UNSET  = null
    LIST   = join(",", [for i in range(3) : i * i])
  }

  mount "config" {
    config = "site"
    path   = "./etc/site.conf"
  }
  mount "config" {
    config = "logo"
    path   = "etc/logo.bin"
  }

  health "http" {
    port        = "http"
    path        = "/healthz?full=1"
    status      = [204, 200, 200]
    interval    = "1s"
    timeout     = "500ms"
    healthy_for = "3s"
    failures    = 2
  }
  health "tcp" {
    port = "admin"
  }

  route "web" {
    driver = "proxy"
    target = "edge"
    listen = ":8080"
    host   = "Shop.Example."
    path   = "/api/"
    port   = "http"
    drain  = "1m"
    tls {
      certificate = "/etc/tls/web.pem"
      key         = "/etc/tls/web.key"
    }
    config {
      max_body = 2048
    }
  }
  route "admin" {
    listen   = "127.0.0.1:9000"
    protocol = "tcp"
    port     = "admin"
  }

  rollout {
    strategy          = "blue_green"
    bake              = "0s"
    keep_previous     = "0s"
    progress_deadline = "5m"
    max_error_rate    = 0.05
    smoke "front page" {
      route    = "web"
      method   = "post"
      path     = "/api/items"
      status   = [201]
      contains = "ok"
      timeout  = "2s"
    }
    smoke {
      route = "web"
    }
  }
}

service "batch" {
  count = 0
  compute "docker" {}
}
