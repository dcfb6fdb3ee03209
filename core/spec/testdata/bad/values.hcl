variable "unset" {
  description = "which build to run."
}
variable "short" {
  default = "toolong"
  validation {
    condition     = length(var.short) < 5
    error_message = "the name is too long"
  }
  validation {
    condition     = "perhaps"
    error_message = "x"
  }
  validation {
    condition = var.sort
    error_message = "x"
  }
  validation {}
}
