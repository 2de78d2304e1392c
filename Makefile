# What can be made: "make help".

SHELL := /bin/bash
.SHELLFLAGS := -eu -o pipefail -c
.DEFAULT_GOAL := help

VERSION ?= $(shell git describe --tags --always --dirty 2>/dev/null || echo devel)
ARCH    ?= $(shell go env GOARCH)
OS      ?= $(shell go env GOOS)

BUILD    := build
BIN      := $(BUILD)/bin
DAEMONS  := $(filter-out dokkaacfg,$(notdir $(wildcard cmd/*)))
LDFLAGS  := -s -w -X github.com/dokkaa/dokkaa/internal/daemon.version=$(VERSION)
GOBUILD  := CGO_ENABLED=0 go build -trimpath
# Properties are tried with the same cases each time, so that a red run is always due to a change;
# "make fuzz" looks for others.
TEST     := RAPID_SEED=1 go test -race -shuffle=on
# Pinned, and apart from go.mod, which is about the product.
STATICCHECK := honnef.co/go/tools/cmd/staticcheck@v0.7.0

.PHONY: help
help: ## Show this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-12s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

.PHONY: build
build: ## Build the static binaries into build/bin
	@mkdir -p $(BIN)
	$(GOBUILD) -ldflags '$(LDFLAGS)' -o $(BIN)/dokkaacfg ./cmd/dokkaacfg
	GOOS=linux GOARCH=$(ARCH) $(GOBUILD) -ldflags '$(LDFLAGS)' -o $(BIN)/ $(addprefix ./cmd/,$(DAEMONS))
	cd images/etcd && GOOS=linux GOARCH=$(ARCH) $(GOBUILD) -ldflags '-s -w' -o ../../$(BIN)/etcd .

.PHONY: images
images: build ## Build the container images into build/images
	go run ./images --arch $(ARCH) --release $(VERSION) --bin $(BIN) --out $(BUILD)/images --cache $(BUILD)/debian

.PHONY: demo
demo: images ## Walk through nginx and crawler on a real local cluster of two hosts
	$(BIN)/dokkaacfg demo

# The package that waits the most comes first.
.PHONY: test
test: tools images ## Check everything that CI checks
	$(MAKE) --no-print-directory lint
	$(TEST) -timeout 12m ./dokkaacfg $$(go list ./... | grep -v -e /test/e2e -e '/dokkaacfg$$')
	cd images/etcd && $(TEST) ./...
	go test -count=1 -timeout 15m ./test/e2e

# What the tests run, and the Debian package that has it.
TOOLS := dockerd:docker.io docker:docker.io ip:iproute2 iptables:iptables nft:nftables nsenter:util-linux \
	dig:bind9-dnsutils kdig:knot-dnsutils musl-gcc:musl-tools curl:curl gcc:gcc docker-registry:docker-registry mmdebstrap:mmdebstrap ssh:openssh-client

.PHONY: tools
tools: ## Install what the tests need and the machine lacks (Debian, as root)
	@packages=; for tool in $(TOOLS); do \
		command -v $${tool%%:*} >/dev/null || packages="$$packages $${tool##*:}"; \
	done; \
	test -e /usr/include/stdlib.h || packages="$$packages libc6-dev"; \
	if [ -n "$$packages" ]; then \
		echo "installing$$packages"; export DEBIAN_FRONTEND=noninteractive; \
		apt-get update -qq && apt-get install -yqq --no-install-recommends $$packages >/dev/null; \
	fi

.PHONY: test-faults
test-faults: tools images ## Run every end-to-end test and the whole fault matrix, over half an hour
	go test -count=1 -p 1 -v -tags faults -timeout 120m ./test/identity ./test/e2e
	go test -count=1 -v -tags faults -timeout 60m -run 'TestInterruptedUp|TestHosts|TestWorstDay|TestNewAuthorities' ./dokkaacfg

.PHONY: bench
bench: TOOLS += dnsperf:dnsperf
bench: tools images ## Measure the stated bounds beside Docker swarm mode, and write docs/benchmarks.md
	go run ./test/bench --out docs/benchmarks.md

.PHONY: fuzz
fuzz: ## Run each fuzz target for FUZZTIME (default 30s), and each property with new cases
	RAPID_CHECKS=1000 go test -count=1 -timeout 60m $$(git grep -l pgregory.net/rapid -- '*_test.go' | xargs -n1 dirname | sort -u | sed 's,^,./,')
	@for package in $$(go list ./...); do \
		for target in $$(go test -list '^Fuzz' $$package | grep '^Fuzz' || true); do \
			go test -run '^$$' -fuzz "^$$target$$" -fuzztime $(or $(FUZZTIME),30s) $$package; \
		done; \
	done

.PHONY: lint
lint: ## Check format and code
	@unformatted=$$(gofmt -l $$(git ls-files '*.go')); test -z "$$unformatted" || { echo "not formatted: $$unformatted"; exit 1; }
	go vet ./...
	go vet -tags faults ./test/e2e ./test/identity ./dokkaacfg
	GOOS=darwin go vet ./dokkaacfg ./cmd/dokkaacfg
	cd images/etcd && go vet ./...
	go run $(STATICCHECK) ./...

.PHONY: release
release: ## Pack static binaries for amd64 and arm64, with checksums
	@rm -rf $(BUILD)/release && mkdir -p $(BUILD)/release
	@for arch in amd64 arm64; do \
		name=dokkaa-$(VERSION)-linux-$$arch; dir=$(BUILD)/release/$$name; mkdir -p $$dir/bin; \
		GOOS=linux GOARCH=$$arch $(GOBUILD) -ldflags '$(LDFLAGS)' -o $$dir/bin/ ./cmd/...; \
		(cd images/etcd && GOOS=linux GOARCH=$$arch $(GOBUILD) -ldflags '-s -w' -o ../../$$dir/bin/etcd .); \
		go run ./images --arch $$arch --release $(VERSION) --bin $$dir/bin --out $$dir/images \
			ambassador conductor etcd gateway skydns; \
		cp -r LICENSE $(wildcard README.md) examples $$dir/; \
		tar --sort=name --owner=0 --group=0 --numeric-owner --mtime=@0 -C $(BUILD)/release -cf - $$name | gzip -n >$$dir.tar.gz; \
		rm -rf $$dir; \
	done
	cd $(BUILD)/release && sha256sum *.tar.gz | tee SHA256SUMS

.PHONY: clean
clean: ## Remove what was built; a cluster goes with "dokkaacfg down"
	rm -rf $(BUILD)
