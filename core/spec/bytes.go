package spec

import (
	"fmt"
	"math"
	"strconv"
	"strings"
)

var byteUnits = map[string]float64{
	"": 1, "b": 1,
	"kib": 1 << 10, "mib": 1 << 20, "gib": 1 << 30, "tib": 1 << 40,
	"kb": 1e3, "mb": 1e6, "gb": 1e9, "tb": 1e12,
}

// ParseBytes reads an amount of bytes: a number, with one of B, KiB, MiB, GiB, TiB (powers of 1024) or
// kB, MB, GB, TB (powers of 1000) behind it, in any case.
func ParseBytes(text string) (int64, error) {
	trimmed := strings.TrimSpace(text)
	digits := strings.TrimRightFunc(trimmed, func(r rune) bool { return r < '0' || r > '9' })
	unit := strings.ToLower(strings.TrimSpace(trimmed[len(digits):]))
	factor, ok := byteUnits[unit]
	n, err := strconv.ParseFloat(digits, 64)
	if err != nil || !ok || strings.ContainsAny(digits, "eExXpP_iInN") {
		return 0, fmt.Errorf("%q is no amount of bytes: write a number with B, KiB, MiB, GiB, TiB, kB, MB, GB or TB, as in 64MiB", text)
	}
	if n *= factor; n != math.Trunc(n) || math.Abs(n) >= 1<<62 {
		return 0, fmt.Errorf("%q is not a whole number of bytes that can be", text)
	}
	return int64(n), nil
}
