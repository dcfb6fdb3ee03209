service "web" {
  compute "process" { command = ["x"]  user = "y" }
}
