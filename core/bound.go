package core

import (
	"strconv"
	"strings"
)

// Bound is a number of instances: "2", or a share of the count: "25%". Empty: none.
type Bound string

// Valid reports whether the bound is a number of 0 or more without leading zeros, or such a share of at most 100%.
func (b Bound) Valid() bool {
	n, share := b.parse()
	return n >= 0 && (!share || n <= 100)
}

// None reports whether the bound is 0, whatever the count.
func (b Bound) None() bool {
	n, _ := b.parse()
	return n == 0
}

// Up is how many of count instances the bound is, a share being rounded up. An invalid one is 0.
func (b Bound) Up(count int) int {
	n, share := b.parse()
	if share {
		n = (n*count + 99) / 100
	}
	return max(n, 0)
}

// Down is how many of count instances the bound is, a share being rounded down. An invalid one is 0.
func (b Bound) Down(count int) int {
	n, share := b.parse()
	if share {
		n = n * count / 100
	}
	return max(n, 0)
}

// parse is the number, negative if it is none.
func (b Bound) parse() (n int, share bool) {
	if b == "" {
		return 0, false
	}
	text, share := strings.CutSuffix(string(b), "%")
	n, err := strconv.Atoi(text)
	if err != nil || n < 0 || n > maxBound || strconv.Itoa(n) != text {
		return -1, share
	}
	return n, share
}

// maxBound is far over any count.
const maxBound = 1_000_000
