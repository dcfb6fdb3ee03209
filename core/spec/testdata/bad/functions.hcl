locals {
  wide    = format("%9999d", 1)
  huge    = "${tonumber("1e999999")}"
  ranged  = range(1e6)
  base64  = base64decode("/w==")
  notb64  = base64decode("%")
  length  = length(true)
  dir     = file(".")
  device  = file("/dev/zero")
  empty   = file("")
  vars    = templatefile("syntax.hcl", "x")
  absent  = templatefile("absent", {})
  json    = jsondecode("[")
  divided = 1 / 0
  null    = "a${null}"
}
