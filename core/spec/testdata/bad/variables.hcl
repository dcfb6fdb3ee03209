variable "unset" {
  description = "which build to run."
}
variable "wrong default" {
  default = "x"
}
variable "number" {
  type    = number
  default = "x"
}
variable "type" {
  type = strin
}
variable "reference" {
  default     = var.number
  description = upper("x")
  sensitive   = "perhaps"
}
variable "extra" {
  nullable = true
}
