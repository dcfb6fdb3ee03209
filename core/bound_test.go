package core_test

import (
	"testing"

	"github.com/instarhq/instar/core"
)

func TestBound(t *testing.T) {
	for _, c := range []struct {
		bound           core.Bound
		valid, none     bool
		count, up, down int
	}{
		{"", true, true, 10, 0, 0},
		{"0", true, true, 10, 0, 0},
		{"0%", true, true, 10, 0, 0},
		{"3", true, false, 1, 3, 3},
		{"25%", true, false, 6, 2, 1},
		{"25%", true, false, 8, 2, 2},
		{"25%", true, false, 1, 1, 0},
		{"1%", true, false, 3, 1, 0},
		{"100%", true, false, 7, 7, 7},
		{"100%", true, false, 0, 0, 0},
		{"101%", false, false, 5, 6, 5},
		{"-1", false, false, 5, 0, 0},
		{"+1", false, false, 5, 0, 0},
		{"007", false, false, 5, 0, 0},
		{"1.5", false, false, 5, 0, 0},
		{"%", false, false, 5, 0, 0},
		{" 1", false, false, 5, 0, 0},
		{"25 %", false, false, 5, 0, 0},
		{"99999999999999999999", false, false, 5, 0, 0},
	} {
		if c.bound.Valid() != c.valid || c.bound.None() != c.none {
			t.Errorf("%q: valid %t, none %t", c.bound, c.bound.Valid(), c.bound.None())
		}
		if up, down := c.bound.Up(c.count), c.bound.Down(c.count); up != c.up || down != c.down {
			t.Errorf("%q of %d: %d up, %d down; want %d and %d", c.bound, c.count, up, down, c.up, c.down)
		}
	}
}
