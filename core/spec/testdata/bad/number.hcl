locals {
  fine = 1e300
  huge = true ? "x" : 1e999999999
}
