# What one can do here; `make` lists it. Tools are built from the Go module
# proxy into build/, so Go is all that build, lint and test need. The tests
# that start containers need a Docker Engine as well.

GO           ?= go
IMAGE        ?= rackdns:latest
TEST_IMAGE   ?= rackdns-example
# How long random queries are made up for the server.
FUZZTIME     ?= 60s
VERSION      ?= $(shell git describe --tags --always --dirty 2>/dev/null || echo dev)
LINT_VERSION := v2.15.0
# The version is part of the name: another version is another file to build.
LINT         := build/tools/golangci-lint-$(LINT_VERSION)

GOBUILD := CGO_ENABLED=0 $(GO) build -trimpath -ldflags '-s -w -X main.version=$(VERSION)'

.DEFAULT_GOAL := help
.PHONY: help build run test lint fmt image bench bench-dns bench-propagation bench-http fuzz clean soak test-image

help: ## list the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## /{printf "make %-17s %s\n", $$1, $$2}' $(firstword $(MAKEFILE_LIST))

build: ## bin/rackdns, one static binary
	$(GOBUILD) -o bin/rackdns ./cmd/rackdns

run: build ## a whole rack on this machine, on the defaults of `rackdns standalone`
	bin/rackdns standalone

# What the end-to-end tests run is built first, so that a cold build cache doesn't
# eat into their time. The tests of hosts come last, by themselves: fifty containers
# that start at once are all that a small machine can do.
GOTEST := $(GO) test -race -timeout 45m
test: build ## every test, with the race detector
	$(GOTEST) ./test/program
	@failed=0; \
	$(GOTEST) -parallel 4 $$($(GO) list ./... | grep -v -e '/test/hosts$$' -e '/test/program$$') || failed=1; \
	$(GOTEST) ./test/hosts || failed=1; \
	exit $$failed

lint: $(LINT) ## golangci-lint, pinned
	$(LINT) run

fmt: $(LINT) ## put imports and spaces where lint wants them
	$(LINT) fmt

$(LINT):
	mkdir -p $(@D)
	GOBIN=$(CURDIR)/$(@D) $(GO) install github.com/golangci/golangci-lint/v2/cmd/golangci-lint@$(LINT_VERSION)
	mv $(@D)/golangci-lint $@

# Nothing is pulled: the image begins from scratch. BuildKit is used where the
# docker command has it (buildx), else the engine's own builder.
image: build ## the container image, tagged rackdns:latest or IMAGE=...
	install -d -m 0700 build/image/data
	DOCKER_BUILDKIT=$$(docker buildx version >/dev/null 2>&1 && echo 1 || echo 0) \
		docker build --network none --tag $(IMAGE) .

# It starts 500 containers, which take minutes to come and go, and 3 GB.
bench-propagation: build ## how long until DNS knows of a start and of a kill
	$(GO) run ./test/bench/propagation -bin bin/rackdns

bench: ## lookups, changes, and a rack of 300,000 instances, beside their budgets
	$(GO) test -run '^$$' -bench . -benchmem ./internal/index/... ./plugin/...
	$(GO) run ./test/bench/registry

bench-http: build ## the HTTP interface, beside nginx; needs nginx and wrk
	$(GO) run ./test/bench/http -bin bin/rackdns

bench-dns: build ## what a query costs, beside CoreDNS's own plugins; needs dnsperf
	$(GO) run ./test/bench/dns -bin bin/rackdns

# The decoders are small and need less time than the server.
fuzz: ## random queries for FUZZTIME=60s, then random registries, labels and files
	$(GO) test -run '^$$' -fuzz '^FuzzServeDNS$$' -fuzztime $(FUZZTIME) ./plugin/rack
	$(GO) test -run '^$$' -fuzz '^FuzzDecode$$' -fuzztime 10s ./internal/registry
	$(GO) test -run '^$$' -fuzz '^FuzzDecide$$' -fuzztime 10s ./internal/agent
	$(GO) test -run '^$$' -fuzz '^FuzzParse$$' -fuzztime 10s ./internal/manifest
	$(GO) test -run '^$$' -fuzz '^FuzzFormats$$' -fuzztime 10s ./internal/env
	$(GO) test -run '^$$' -fuzz '^FuzzFile$$' -fuzztime 10s ./internal/env
	$(GO) test -run '^$$' -fuzz '^FuzzRegistry$$' -fuzztime 20s ./plugin/rack
	$(GO) test -run '^$$' -fuzz '^FuzzShortname$$' -fuzztime 20s ./plugin/shortname
	$(GO) test -run '^$$' -fuzz '^FuzzJSON$$' -fuzztime 10s ./internal/terminal
	$(GO) test -run '^$$' -fuzz '^FuzzRequest$$' -fuzztime 20s ./internal/httpapi/routes

clean: ## remove what was built here
	rm -rf bin build

# Registries that stay away for a minute, wires that are cut again and again.
# One package at a time: two soaks of one engine are a test of the engine.
soak: build ## the tests of faults, with all the time they can use
	RACKDNS_SOAK=5m $(GO) test -race -count 1 -p 1 -timeout 30m \
		-run 'Registry|Stale|Leader|Cut|Killed|Full|Wire|HalfOpen|Silent|Racks|Compaction|Quorum|Reload|Soak' ./test ./internal/agent ./internal/registry ./internal/index

test-image: ## a web server that says which container it is; TEST_IMAGE=rackdns-example
	CGO_ENABLED=0 GOOS=linux $(GO) build -trimpath -ldflags '-s -w' -o build/test-image/container ./test/container
	tar -C build/test-image -c container | docker import -c 'ENTRYPOINT ["/container"]' -c 'EXPOSE 3000' - $(TEST_IMAGE)
