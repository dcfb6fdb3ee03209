package haproxy_test

import (
	"flag"
	"fmt"
	"os"
	"testing"
)

// atATime is how many tests run at a time, if nothing else is asked for: they wait more than they work.
const atATime = "8"

func TestMain(m *testing.M) {
	flag.Parse()
	asked := false
	flag.Visit(func(f *flag.Flag) { asked = asked || f.Name == "test.parallel" })
	if !asked {
		if err := flag.Set("test.parallel", atATime); err != nil {
			fmt.Fprintln(os.Stderr, "haproxy_test:", err)
			os.Exit(1)
		}
	}
	code := m.Run()
	if err := os.RemoveAll(shopDir); err != nil {
		fmt.Fprintln(os.Stderr, "haproxy_test:", err)
		code = 1
	}
	os.Exit(code)
}
