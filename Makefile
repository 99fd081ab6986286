GO      ?= go
ARCH    := $(shell $(GO) env GOARCH)
PROFILE ?= cp-$(ARCH)
export ARCH
RUN     ?= .
# What the tests judge Slipway's work with.
JUDGES  := qemu-system-x86 qemu-utils ovmf squashfs-tools cryptsetup-bin gdisk dosfstools mtools e2fsprogs cpio kmod xorriso zstd xz-utils strace sbsigntool openssl nftables

.DEFAULT_GOAL := all
.PHONY: all help image test qemu-test judges lint bench clean FORCE

all: bin/builder bin/firstboot ## build bin/builder and bin/firstboot

help: ## say what each target does
	@sed -n 's/^\([a-z-]*\):.*## \(.*\)/\1\t\2/p' $(MAKEFILE_LIST) | expand -t 12

bin/%: FORCE
	CGO_ENABLED=0 $(GO) build -trimpath -buildvcs=false -ldflags '-s -w' -o $@ ./cmd/$*

image: bin/builder ## bake an image: make image [PROFILE=cp-amd64]
	bin/builder build --profile $(PROFILE)

test: lint judges image ## everything: unit tests with the race detector, then boots in QEMU
	bin/builder inspect out/$(PROFILE)/disk.raw cat usr/bin/kubeadm > bin/kubeadm && chmod +x bin/kubeadm
	SLIPWAY_KUBEADM=$(CURDIR)/bin/kubeadm $(GO) test -race -timeout 20m ./cmd/... ./pkg/...
	$(GO) test -count=1 -short -timeout 40m -v ./qemu-tests/...

qemu-test: judges image ## boot what was baked: make qemu-test [RUN=name] [ARCH=s390x]
	$(GO) test -count=1 -timeout 120m -v -run '$(RUN)' ./qemu-tests/...

judges: ## install the programs that tests compare with
	@qemu-tests/judges.sh $(JUDGES)

lint: ## gofmt, go vet, staticcheck
	@test -z "$$(gofmt -l cmd pkg qemu-tests profiles | tee /dev/stderr)"
	$(GO) vet ./...
	$(GO) tool staticcheck ./...

bench: ## the benchmarks of the encoders
	$(GO) test -run '^$$' -bench . -benchmem ./pkg/...

clean: ## remove what was built (the store stays)
	rm -rf bin out
