# volbridge. `make help` lists the targets.
SHELL       := /bin/bash
.SHELLFLAGS := -euo pipefail -c

GO      ?= go
TAGS    := libvirt_dlopen
VERSION := $(shell git describe --tags --always --dirty 2>/dev/null || echo unknown)
LDFLAGS := -s -w -X main.version=$(VERSION)
export VOLBRIDGE_CACHE ?= $(CURDIR)/.cache
# Fuzzing time per target, and which test to run (`make test RUN=TestName`).
FUZZTIME ?= 30s
RUN      ?=

.PHONY: help setup setup-test build test demo bench lint fuzz golden clean

help: ## list the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  %-11s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

setup: ## install what building and the demo need (root, Debian 12)
	scripts/setup.sh --demo

setup-test: ## install what the tests need on top of it
	scripts/setup.sh --test

build: ## bin/volbridge and bin/volbridge-hook
	CGO_ENABLED=1 $(GO) build -tags $(TAGS) -trimpath -ldflags '$(LDFLAGS)' -o bin/volbridge ./cmd/volbridge
	CGO_ENABLED=0 $(GO) build -trimpath -ldflags '$(LDFLAGS)' -o bin/volbridge-hook ./cmd/volbridge-hook

test: setup-test build ## everything, on real libvirt and QEMU (root; a skip is a failure where CI is set)
	$(GO) test -tags $(TAGS) -p 1 $(if $(CI),-count=1) -timeout 40m $(if $(RUN),-run '$(RUN)') ./...

demo: setup build ## move a running guest from a file to a raw block device, and back and forth
	$(GO) run -tags $(TAGS) ./lab/demo

bench: setup-test build ## measure, and print ratios against references of the same run
	$(GO) run -tags $(TAGS) ./lab/bench

lint: ## gofmt, go vet, staticcheck
	@test -z "$$(gofmt -l $$(git ls-files '*.go'))" || { gofmt -l $$(git ls-files '*.go'); exit 1; }
	$(GO) vet -tags $(TAGS) ./...
	cd tools && $(GO) build -o $(VOLBRIDGE_CACHE)/staticcheck honnef.co/go/tools/cmd/staticcheck
	$(VOLBRIDGE_CACHE)/staticcheck -tags $(TAGS) ./...

fuzz: ## each fuzz target for FUZZTIME
	for t in $$(grep -rlE '^func Fuzz' --include='*_test.go' . | xargs -n1 dirname | sort -u); do \
	  for f in $$(grep -hoE '^func Fuzz[A-Za-z0-9]+' $$t/*_test.go | cut -c6-); do \
	    $(GO) test -tags $(TAGS) -run '^$$' -fuzz "^$$f\$$" -fuzztime $(FUZZTIME) $$t; \
	  done; done

golden: ## write the golden files anew, to be read in the diff
	$(GO) test -tags $(TAGS) ./domainxml -run Golden -update

clean: ## remove what was built (the cache of downloaded material stays: rm -r .cache)
	rm -rf bin
