# instar. `make help` lists what there is.

VERSION ?= $(shell git describe --tags --always --dirty 2>/dev/null || echo dev)
GO      ?= go
# The product needs no C; the tests do, for the race detector (see .ci/test).
STATIC   = CGO_ENABLED=0 $(GO) build -trimpath

.DEFAULT_GOAL := build
.PHONY: help build shop demo test lint proto proto-released generate chaos release-snapshot clean

help: ## this list
	@awk -F ':.*## ' '/^[a-z%-]+:.*## / { printf "  make %-18s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

build: shop ## every binary into build/bin, and the example shop into build/shop
	@mkdir -p build/bin
	$(STATIC) -ldflags "-s -w -X main.version=$(VERSION)" -o build/bin/ ./cmd/...

shop:
	@for version in 1 2 3; do mkdir -p build/shop/$$version && \
	  $(STATIC) -ldflags "-s -w -X main.version=$$version" -o build/shop/$$version/shop ./examples/shop || exit 1; done

demo: build ## replaces the shop under load, tells the story, writes build/demo.json
	$(GO) run ./e2e/demo

test: ## all tests, under the race detector; installs what is lacking
	.ci/test

lint: ## golangci-lint, buf and goreleaser over sources and configuration
	.ci/lint

proto: ## the generated code of proto/, and docs/drivers/reference.md
	PATH="$$(dirname $$(.ci/tool protoc-gen-go)):$$(dirname $$(.ci/tool protoc-gen-go-grpc)):$$PATH" && \
	  cd proto && "$$(../.ci/tool buf)" generate
	"$$(.ci/tool buf)" build proto -o - | $(GO) run ./proto/reference > docs/drivers/reference.md

proto-released: ## with a release: from now on `buf breaking` guards what is in proto/ today
	"$$(.ci/tool buf)" build proto --exclude-source-info -o proto/released.txtpb

generate: proto ## all generated files
	$(GO) generate ./...

bench-%: ## store, failover, proxy, switch, rollout, docker, idle or audit: measures, writes build/bench-NAME.json
	@test -d e2e/bench/$* || { echo "there is no benchmark $*" >&2; exit 2; }
	@case $* in proxy|store|failover|switch) .ci/setup .ci/packages-bench ;; docker) .ci/setup ;; esac
	$(GO) run ./e2e/bench/$*

bench-rollout bench-idle bench-docker: build

DURATION ?= 1m
SEED     ?= 0

chaos: build ## three hosts under faults at random: DURATION=10m, SEED=N repeats a schedule; needs root
	@.ci/setup
	@mkdir -p build/chaos && $(STATIC) -o build/chaos/ ./examples/shop ./e2e/announce
	$(GO) run ./e2e/chaos/run -bin build/bin -shop build/chaos -duration $(DURATION) -seed $(SEED)

release-snapshot: ## archives and packages of the working tree into dist/
	"$$(.ci/tool goreleaser)" release --snapshot --clean

clean: ## removes what the other targets made
	rm -rf build dist
