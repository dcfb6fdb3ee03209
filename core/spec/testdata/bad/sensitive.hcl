variable "password" {
  default   = "hunter2"
  sensitive = true
}

service "web" {
  count = var.password
  compute "process" {
    command  = ["x", "--password=${var.password}"]
    password = var.password
  }
  env = {
    P = 1 + var.password
  }
}
