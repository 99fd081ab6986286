package debian_test

import (
	"context"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/slipway-os/slipway/pkg/apt"
	"github.com/slipway-os/slipway/pkg/deb"
	"github.com/slipway-os/slipway/pkg/debian"
	"github.com/slipway-os/slipway/pkg/fetch"
	"github.com/slipway-os/slipway/pkg/store"
)

// baseSystem is a base system's packages and excludes, about as large as what
// images carry.
const (
	baseSystem = `base-files base-passwd libc6 libc-bin dash bash coreutils sed grep util-linux mount login passwd
		libpam-modules libpam-runtime libpam-systemd systemd systemd-sysv udev systemd-resolved systemd-repart libnss-systemd
		libnss-myhostname dbus-broker dbus-system-bus-common kmod iptables nftables conntrack ethtool socat iproute2
		ca-certificates openssh-server openssh-client e2fsprogs dosfstools gdisk xfsprogs cryptsetup-bin dmsetup tzdata
		netbase iputils-ping tar gzip zstd procps findutils ncurses-base ncurses-bin crun linux-image-cloud-amd64 systemd-boot-efi`
	baseExclude = `debconf* dpkg perl* init-system-helpers adduser ucf install-info linux-base sysvinit-utils openssl dbus
		openssh-sftp-server python3 python3-dbus libicu76`
)

// BenchmarkMirror takes a base system from the mirror of this machine, with a
// store that SLIPWAY_BENCH_STORE names, or a new one: resolve, fetch, read.
// Run it with -benchtime 1x, twice with the same store for warm times.
func BenchmarkMirror(b *testing.B) {
	dir := os.Getenv("SLIPWAY_BENCH_STORE")
	if dir == "" {
		dir = b.TempDir()
	}
	st, err := store.Open(dir)
	if err != nil {
		b.Fatal(err)
	}
	mirrors, err := apt.FindMirrors(apt.Options{})
	if err != nil {
		b.Fatal(err)
	}
	b.Log(mirrors.From)
	ctx := context.Background()
	for b.Loop() {
		client := fetch.New(st, fetch.Options{})
		repository, err := debian.New(st, client, debian.Options{Now: time.Now()})
		if err != nil {
			b.Fatal(err)
		}
		suites := debian.Suites(mirrors.Main, mirrors.Security, "trixie")
		lap := stopwatch(b)
		indexes, err := repository.Indexes(ctx, suites, "amd64")
		if err != nil {
			b.Fatal(err)
		}
		lap("index-s")
		packages, err := debian.Resolve(indexes, strings.Fields(baseSystem), strings.Fields(baseExclude), "amd64")
		if err != nil {
			b.Fatal(err)
		}
		lap("resolve-s")
		var items []fetch.Item
		var size int64
		for _, p := range packages {
			address, err := p.URL(suites)
			if err != nil {
				b.Fatal(err)
			}
			items = append(items, fetch.Item{URL: address, Size: p.Size, SHA256: p.SHA256})
			size += p.Size
			b.Log(p.Name, p.Version, p.Suite)
		}
		blobs, err := client.Fetch(ctx, items, nil)
		if err != nil {
			b.Fatal(err)
		}
		lap("fetch-s")
		debs, err := deb.OpenAll(ctx, st, blobs, nil)
		if err != nil {
			b.Fatal(err)
		}
		lap("read-s")
		paths := 0
		for _, d := range debs {
			paths += d.Tree.Len()
		}
		b.ReportMetric(float64(len(packages)), "packages")
		b.ReportMetric(float64(size)/1e6, "MB")
		b.ReportMetric(float64(paths), "paths")
	}
}

func stopwatch(b *testing.B) func(metric string) {
	last := time.Now()
	return func(metric string) {
		now := time.Now()
		b.ReportMetric(now.Sub(last).Seconds(), metric)
		last = now
	}
}
