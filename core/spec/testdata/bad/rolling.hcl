service "a" {
  compute "process" {
    command = ["x"]
  }
  rollout {
    strategy        = "rolling"
    max_surge       = 0
    max_unavailable = "0%"
    keep_previous   = "1h"
  }
}

service "b" {
  compute "process" {
    command = ["x"]
  }
  rollout {
    strategy        = "rolling"
    max_surge       = "half"
    max_unavailable = 1.5
  }
}

service "c" {
  compute "process" {
    command = ["x"]
  }
  rollout {
    max_surge = 1
  }
}
