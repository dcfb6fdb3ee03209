locals {
	größe = "日本語 ${var.größe}"   # a tab before, wide characters within
}
