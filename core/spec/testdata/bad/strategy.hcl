service "web" {
  compute "docker" {}
  rollout {
    strategy = "canary"
  }
}
