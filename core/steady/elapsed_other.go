//go:build !linux

package steady

import "time"

var began = time.Now()

func elapsed() time.Duration { return time.Since(began) }
