variable "v" {
  default = 1
}
variable "v" {}

locals {
  a = 1
}
locals {
  a = 2
}

config "c" {
  data = "x"
}
