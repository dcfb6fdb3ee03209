package docker

// SetCrash sets what is called between the steps of Create and Destroy.
func SetCrash(f func(step string)) { crash = f }
