service "web" {
  count = [1,
