// Command run is what `make chaos` runs.
package main

import (
	"context"
	"flag"
	"fmt"
	"math/rand/v2"
	"os"
	"os/signal"
	"path/filepath"
	"syscall"
	"time"

	"github.com/instarhq/instar/e2e/chaos"
)

func main() {
	bin := flag.String("bin", "build/bin", "folder with the binaries")
	shop := flag.String("shop", "build/chaos", "folder with announce and shop")
	duration := flag.Duration("duration", time.Minute, "for how long there is trouble")
	seed := flag.Uint64("seed", 0, "of the schedule; 0: one that nobody chose")
	flag.Parse()
	if *seed == 0 {
		*seed = rand.Uint64()
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	err := run(ctx, *bin, *shop, *duration, *seed)
	stop()
	if err != nil {
		fmt.Fprintln(os.Stderr, "chaos:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, bin, shop string, duration time.Duration, seed uint64) (err error) {
	if bin, err = filepath.Abs(bin); err != nil {
		return err
	}
	if shop, err = filepath.Abs(shop); err != nil { // a service's artifact, which is relative to nothing
		return err
	}
	return chaos.Run(ctx, chaos.Config{Bin: bin, Shop: shop, Static: true, Duration: duration, Seed: seed, Out: os.Stdout})
}
