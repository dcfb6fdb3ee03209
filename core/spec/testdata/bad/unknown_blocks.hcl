servise "web" {
}

service "web" {
  cuont = 3
  compute "process" {
    command = ["x"]
  }
  artefact {
    source = "x"
  }
}
