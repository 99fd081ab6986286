GO      ?= go
ARCH    := $(shell $(GO) env GOARCH)
PROFILE ?= cp-$(ARCH)
export ARCH
# Ordinary users have not got the directories of mkfs, sgdisk and the like in it.
export PATH := $(PATH):/usr/sbin:/sbin
RUN     ?= .
# The architectures that this machine's own is not: `make test` boots a small host of each.
HOSTS   := $(filter-out $(shell $(GO) env GOARCH),amd64 arm64 ppc64le s390x)
# Clusters of several machines that can be asked for by name: make qemu-test RUN=ha.
# Of other architectures than this machine's, they are run only if asked for.
TOPOLOGIES := single pair ha external-etcd dual-stack own-ca external-ca mixed-arch bond-vlan token
# The worker of another architecture in one of them.
FOREIGN := $(if $(filter arm64,$(ARCH)),amd64,arm64)
# A profile to merge over all that are built: WITH=qemu-tests/profiles/frozen.yaml
# where a mirror is not of one piece.
WITH    ?=
BUILD    = bin/builder build $(WITH:%=--with=%)
# What the tests judge Slipway's work with.
JUDGES  := qemu-system-x86 qemu-system-arm qemu-system-ppc qemu-system-s390x qemu-utils ovmf qemu-efi-aarch64 squashfs-tools cryptsetup-bin gdisk dosfstools mtools e2fsprogs cpio kmod xorriso zstd xz-utils strace sbsigntool openssl nftables haproxy keepalived openssh-client

.DEFAULT_GOAL := all
.PHONY: all help image images hosts programs test qemu-test judges lint bench clean FORCE

all: bin/builder bin/firstboot ## build bin/builder and bin/firstboot

help: ## say what each target does
	@sed -n 's/^\([a-z-]*\):.*## \(.*\)/\1\t\2/p' $(MAKEFILE_LIST) | expand -t 12

bin/%: FORCE
	CGO_ENABLED=0 $(GO) build -trimpath -buildvcs=false -ldflags '-s -w' -o $@ ./cmd/$*

image: bin/builder ## bake an image: make image [PROFILE=cp-amd64], or several: PROFILE="cp-amd64 worker-amd64"
	$(BUILD) $(PROFILE:%=--profile=%)

images: bin/builder ## bake all that 'builder profiles' lists
	$(BUILD) --all

hosts: bin/builder # small images of the other architectures
	$(BUILD) $(HOSTS:%=--profile=qemu-tests/profiles/host-%.yaml)

programs: image ## install the kubeadm and etcd of the baked image in bin/, for the unit tests
	bin/builder inspect out/$(PROFILE)/disk.raw cat usr/bin/kubeadm > bin/kubeadm
	bin/builder inspect out/$(PROFILE)/disk.raw cat $$(bin/builder inspect out/$(PROFILE)/disk.raw ls -r usr/share/slipway/images/layers | awk '/\/usr\/local\/bin\/etcd$$/ {print $$NF}') > bin/etcd
	chmod +x bin/kubeadm bin/etcd

test: lint judges image hosts programs ## everything: unit tests with the race detector, then boots in QEMU
	SLIPWAY_WITH="$(WITH)" SLIPWAY_BAKED="$(PROFILE)" SLIPWAY_KUBEADM=$(CURDIR)/bin/kubeadm SLIPWAY_ETCD=$(CURDIR)/bin/etcd $(GO) test -race -timeout 20m ./cmd/... ./pkg/...
	SLIPWAY_HOSTS="$(HOSTS)" $(GO) test -count=1 -short -timeout 75m -parallel 2 -v ./qemu-tests/...

# What `make qemu-test` checks of the images themselves: that they come out the
# same again, as an ordinary user's with no program but go, and are what inspect says.
define BAKED
$(BUILD) --profile $(PROFILE) --lock out/$(PROFILE)/lock.json --no-cache --out out/again/$(PROFILE)
cmp out/again/$(PROFILE)/disk.raw out/$(PROFILE)/disk.raw
SLIPWAY_WITH="$(WITH)" SLIPWAY_BAKED="cp-$(ARCH) worker-$(ARCH) etcd-$(ARCH)" $(GO) test -count=1 -v -run 'TestConfinedBuild|TestInspectTheBuiltImages' ./cmd/builder
endef

qemu-test: judges image ## boot all roles of all architectures and all topologies, and bake anew: make qemu-test [RUN=name] [ARCH=s390x]
	$(BUILD) --profile worker-$(ARCH) --profile etcd-$(ARCH) --profile worker-$(FOREIGN) $(patsubst %,--profile worker-metal-%,$(filter amd64 arm64,$(ARCH))) --profile qemu-tests/profiles/host-$(ARCH).yaml
	$(if $(filter .,$(RUN)),$(BAKED))
	$(GO) test -count=1 -timeout 480m -parallel 2 -v $(if $(filter-out $(shell $(GO) env GOARCH),$(ARCH)),$(if $(filter .,$(RUN)),-skip '^TestTopology$$')) -run '$(if $(filter $(RUN),$(TOPOLOGIES)),^TestTopology$$/^$(RUN)$$,$(RUN))' ./qemu-tests/...
	$(if $(and $(filter file,$(origin ARCH)),$(filter .,$(RUN))),set -e; for a in $(HOSTS); do $(MAKE) qemu-test ARCH=$$a; done)

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
