# A third-party server that knows nothing of instar: Debian's nginx, its configuration a config object.

variable "greeting" { type = string }
variable "listen" { type = string }

config "nginx" {
  data = replace(file("nginx.conf"), "@GREETING@", var.greeting)
}

service "nginx" {
  count = 2
  grace = "10s"

  artifact {
    source = "/usr/sbin/nginx"
  }

  compute "process" {
    command = ["/bin/sh", "-c", <<-EOT
      mkdir -p run/large &&
      sed "s/@PORT@/$INSTAR_PORT_HTTP/; s/@REVISION@/$INSTAR_REVISION/" etc/nginx.conf >run/nginx.conf &&
      head -c 300000 /dev/zero | tr '\0' 'x' >run/large/file &&
      exec ./nginx -p "$PWD/" -e run/error.log -c run/nginx.conf
    EOT
    ]
    stop_signal = "SIGQUIT"
  }

  port "http" {}

  mount "config" {
    config = "nginx"
    path   = "etc/nginx.conf"
  }

  health "http" {
    path        = "/"
    interval    = "200ms"
    timeout     = "2s"
    healthy_for = "400ms"
  }

  route "nginx" {
    listen = var.listen
    drain  = "5s"
  }

  rollout {
    bake          = "1s"
    keep_previous = "0s"

    smoke {
      path     = "/"
      contains = "welcome: ${var.greeting}"
    }
  }
}
