locals {
  a = local.b
  b = "${local.c}!"
  c = [local.a, local.d]
  d = local.d
  e = local.a
  f = "fine"
}

service "web" {
  compute "docker" {}
  env = { E = local.e, F = local.f }
}
