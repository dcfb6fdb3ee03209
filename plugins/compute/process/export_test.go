package process

// SetCrash makes f run between the steps of Create and Destroy.
func SetCrash(f func(step string)) { crash = f }
