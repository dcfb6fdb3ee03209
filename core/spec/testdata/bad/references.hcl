variable "version" {
  default = "1"
}

locals {
  image = "web:${var.version}"
}

config "c" {
  data = port.http
}

service "web" {
  count = var.verison
  compute "process" {
    command = [local.imgae, port.htp, port.tcp, port["nope"], instance.name, instance, var, nothing, self.x]
    user    = upper(undefined)
  }
  port "http" {}
  env = {
    A = var.other
    B = local.other
    C = upcase("x")
    D = file("absent.txt")
  }
  health "http" {
    path = "/${port.http}"
  }
}
