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
# Tests on emulated machines that are about the packages and not about storage, and
# those of DRBD.
OF_PACKAGES := ^(TestPackages|TestQuickStarts)$$
OF_DRBD     := ^(TestDRBD|TestLINSTOR)$$
# The date of what `make package` makes: the same commit makes the same bytes.
# A tree without its history has the date of its files, and no version.
SOURCE_DATE_EPOCH ?= $(shell git log -1 --format=%ct 2>/dev/null || stat --format=%Y go.mod)
PACKED  := $(patsubst unknown,0000000,$(VERSION))

.PHONY: help setup setup-test setup-lab build played package previous reproduce setup-package test demo lab lab-storage lab-packages lab-all bench bench-lab lint fuzz golden clean

help: ## list the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  %-13s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

setup: ## install what building and the demo need (root, Debian 12)
	scripts/setup.sh --demo

setup-test: ## install what the tests need on top of it
	scripts/setup.sh --test

build: ## bin/volbridge and bin/volbridge-hook
	CGO_ENABLED=1 $(GO) build -tags $(TAGS) -trimpath -ldflags '$(LDFLAGS)' -o bin/volbridge ./cmd/volbridge
	CGO_ENABLED=0 $(GO) build -trimpath -ldflags '$(LDFLAGS)' -o bin/volbridge-hook ./cmd/volbridge-hook

played: # bin/played: the same for lab hosts whose NVMe is played; see lab/nvmesim
	CGO_ENABLED=1 $(GO) build -tags $(TAGS),lab -o bin/played/volbridge ./cmd/volbridge
	CGO_ENABLED=0 $(GO) build -tags lab -o bin/played/volbridge-hook ./cmd/volbridge-hook

test: setup-test build ## everything, on real libvirt and QEMU (root; a skip is a failure where CI is set)
	$(GO) test -tags $(TAGS) -p 1 $(if $(CI),-count=1) -timeout 40m $(if $(RUN),-run '$(RUN)') ./...

demo: setup played ## move a running guest from a file onto a storage array, and back and forth
	$(GO) run -tags $(TAGS) ./lab/demo

setup-package: ## install what packing needs on top of `make setup`
	scripts/setup.sh --package

package: setup-package build ## dist/: a deb, an rpm, what is in them (SPDX), checksums
	cd tools && $(GO) build -o $(VOLBRIDGE_CACHE)/nfpm github.com/goreleaser/nfpm/v2/cmd/nfpm
	rm -rf dist
	SOURCE_DATE_EPOCH=$(SOURCE_DATE_EPOCH) $(GO) run ./packaging/pack -nfpm $(VOLBRIDGE_CACHE)/nfpm -version '$(PACKED)'

reproduce: setup-package ## make the packages of this commit twice, and compare
	scripts/reproduce.sh

previous: package # dist/previous: an older version, to be upgraded
	SOURCE_DATE_EPOCH=$$(($(SOURCE_DATE_EPOCH) - 86400)) $(GO) run ./packaging/pack -nfpm $(VOLBRIDGE_CACHE)/nfpm -version 0000000 -out dist/previous

setup-lab: ## install what the emulated machines need on top of `make setup`
	scripts/setup.sh --lab

lab: setup-lab package previous ## three emulated machines, an array and two KVM hosts, over NVMe/TCP (root)
	$(GO) test -tags $(TAGS),machines -p 1 -parallel 2 -count=1 -timeout 60m -v $(if $(RUN),-run '$(RUN)',-skip '$(OF_PACKAGES)|$(OF_DRBD)') ./lab/machines/...

lab-storage: setup-lab package previous ## the same, and beside it hosts with DRBD, with and without LINSTOR
	$(GO) test -tags $(TAGS),machines -p 1 -parallel 2 -count=1 -timeout 90m -v -skip '$(OF_PACKAGES)' ./lab/machines/...

lab-packages: setup-lab package previous ## on such machines, the packages' life and the quick starts as they are written
	$(GO) test -tags $(TAGS),machines -parallel 2 -count=1 -timeout 60m -v -run '$(OF_PACKAGES)' ./lab/machines/scenario

lab-all: setup-lab package previous ## all three, sharing the time: two sets of machines run at once to the end
	$(GO) test -tags $(TAGS),machines -p 1 -parallel 2 -count=1 -timeout 120m -v ./lab/machines/...

bench-lab: setup-lab package ## measure on the emulated machines, against references of the same run
	$(GO) run -tags $(TAGS) ./lab/machines/bench

bench: setup-test build ## measure, and print ratios against references of the same run
	$(GO) run -tags $(TAGS) ./lab/bench

lint: ## gofmt, go vet, staticcheck
	@test -z "$$(gofmt -l $$(git ls-files '*.go'))" || { gofmt -l $$(git ls-files '*.go'); exit 1; }
	$(GO) vet -tags $(TAGS) ./...
	$(GO) vet -tags $(TAGS),machines ./lab/machines/... ./blockdev
	$(GO) vet -tags $(TAGS),lab ./cmd/...
	cd tools && $(GO) build -o $(VOLBRIDGE_CACHE)/staticcheck honnef.co/go/tools/cmd/staticcheck
	$(VOLBRIDGE_CACHE)/staticcheck -tags $(TAGS) ./...
	$(VOLBRIDGE_CACHE)/staticcheck -tags $(TAGS),machines ./lab/machines/... ./blockdev

fuzz: ## each fuzz target for FUZZTIME
	for t in $$(grep -rlE '^func Fuzz' --include='*_test.go' . | xargs -n1 dirname | sort -u); do \
	  for f in $$(grep -hoE '^func Fuzz[A-Za-z0-9]+' $$t/*_test.go | cut -c6-); do \
	    $(GO) test -tags $(TAGS) -run '^$$' -fuzz "^$$f\$$" -fuzztime $(FUZZTIME) $$t; \
	  done; done

golden: ## write the golden files anew, to be read in the diff
	for p in domainxml internal/config packaging cmd/volbridge; do $(GO) test -tags $(TAGS) ./$$p -update; done

clean: ## remove what was built (the cache of downloaded material stays: rm -r .cache)
	rm -rf bin dist
