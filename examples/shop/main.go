package main

import (
	"context"
	"flag"
	"fmt"
	"log/slog"
	"net"
	"os"
	"os/signal"
	"syscall"
)

// version is set by the build: -ldflags "-X main.version=2". SHOP_VERSION in the environment wins.
var version = "dev"

func main() {
	listen := flag.String("listen", "127.0.0.1:8080", "`address` to serve on")
	config := flag.String("config", "etc/shop.json", "configuration `file`; it need not exist")
	show := flag.Bool("version", false, "print the version and exit")
	flag.Parse()
	if *show {
		fmt.Println(version)
		return
	}
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM, os.Interrupt)
	defer stop()
	if err := run(ctx, *listen, *config); err != nil {
		fmt.Fprintln(os.Stderr, "shop:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, listen, path string) error {
	cfg, err := LoadConfig(path, os.LookupEnv)
	if err != nil {
		return err
	}
	if cfg.Fault.Crash != "" {
		return fmt.Errorf("cannot start: %s", cfg.Fault.Crash)
	}
	log := slog.New(slog.NewTextHandler(os.Stdout, nil))
	listener, err := net.Listen("tcp", listen)
	if err != nil {
		return err
	}
	shop := NewShop(cfg, IdentityFromEnv(version, os.LookupEnv), log)
	log.Info("serving", "version", shop.identity.Version, "revision", shop.identity.Revision, "address", listener.Addr().String())
	return shop.Serve(ctx, listener)
}
