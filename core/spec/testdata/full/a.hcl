# Every block and attribute once.

variable "version" {
  type        = string
  description = "which build to run"

  validation {
    condition     = length(var.version) > 0
    error_message = "an empty version names no build"
  }
}

variable "limits" {
  type = object({
    cpu    = number
    memory = optional(string, "64MiB")
  })
  default = { cpu = 250 }
}

locals {
  base   = "dist/web-${var.version}"
  banner = upper(trimspace(" hello "))
}

config "site" {
  data = templatefile("files/site.conf", { name = "web", ports = [1, 2] })
}

config "logo" {
  data_base64 = filebase64("files/logo.bin")
}
