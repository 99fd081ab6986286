package main

import (
	"context"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/slipway-os/slipway/pkg/build"
	"github.com/slipway-os/slipway/pkg/diag"
	"github.com/slipway-os/slipway/pkg/uki/ukitest"
)

// complete adds to a site what makes a disk of it: the smallest kernel, loader
// and first program that builder takes for such. (Nothing of it would boot.)
func (s *site) complete(t *testing.T) {
	t.Helper()
	stub, uefi := map[string]string{"amd64": "linuxx64", "arm64": "linuxaa64"}[runtime.GOARCH]
	if !uefi {
		t.Skipf("builds a disk that UEFI starts, which %s does not have: run it on amd64 or arm64", runtime.GOARCH)
	}
	s.repo.Main.Packages[1].Files["usr/lib/libapp.so"] = noise(1_500_000)
	s.repo.Main.Packages[2].Files = map[string]string{
		"boot/vmlinuz-6.1-test":                          "MZ, and then: Linux version 6.1-test (nobody)",
		"usr/lib/modules/6.1-test/modules.order":         "",
		"usr/share/doc/linux/copyright":                  "Free to use.\n",
		"usr/lib/os-release":                             "ID=test\n",
		"usr/share/base-passwd/passwd.master":            "root:*:0:0:root:/root:/bin/sh\n",
		"usr/share/base-passwd/group.master":             "root:*:0:\n",
		"usr/lib/systemd/boot/efi/" + stub + ".efi.stub": string(ukitest.Stub(runtime.GOARCH == "arm64")),
	}
	s.repo.Publish(t)
	s.write(t, "profiles/components/firstboot/component.yaml", "version: v1.0.0\nprograms:\n  - {package: ., name: firstboot, paths: [usr/bin/firstboot]}\n")
	s.write(t, "profiles/components/firstboot/go.mod", "module example.com/firstboot\n\ngo 1.26\n")
	s.write(t, "profiles/components/firstboot/main.go", "package main\n\nfunc main() {}\n")
	s.edit(t, "profiles/p.yaml", "images: none", "images: none\ncomponents: [firstboot]")
}

func sumOf(t *testing.T, file string) string {
	t.Helper()
	data, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	sum := sha256.Sum256(data)
	return string(sum[:])
}

func TestACompleteBuild(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	s.complete(t)
	out, err := s.build(t.Context(), "--output", "json")
	if err != nil {
		t.Fatal(err)
	}
	// What comes out on standard output is JSON, and nothing else.
	var first build.Result
	if err := json.Unmarshal([]byte(out), &first); err != nil {
		t.Fatalf("%v in %s", err, out)
	}
	if first.Disk != s.file("out/disk.raw") || first.Lock != s.file("out/lock.json") || len(first.RootHash) != 64 || first.Image.KernelRelease != "6.1-test" {
		t.Errorf("got %+v", first)
	}
	s.clean(t, "disk.raw", "lock.json", "result.json")

	t.Run("nothing changed", func(t *testing.T) {
		before, err := os.Stat(first.Disk)
		if err != nil {
			t.Fatal(err)
		}
		out, err := s.build(t.Context())
		if err != nil || !strings.Contains(out, first.RootHash) {
			t.Errorf("got %s, %v", out, err)
		}
		if after, err := os.Stat(first.Disk); err != nil || !os.SameFile(before, after) {
			t.Errorf("the disk was written again: %v", err)
		}
	})
	t.Run("from the lock, with nothing but it and the store", func(t *testing.T) {
		if _, err := s.build(t.Context(), "--lock", first.Lock, "--offline", "--out", s.file("again")); err != nil {
			t.Fatal(err)
		}
		if sumOf(t, first.Disk) != sumOf(t, s.file("again/disk.raw")) {
			t.Error("other bytes came out")
		}
	})
	t.Run("from the lock, with an empty store", func(t *testing.T) {
		if _, err := s.build(t.Context(), "--lock", first.Lock, "--store", s.file("other"), "--out", s.file("anew")); err != nil {
			t.Fatal(err)
		}
		if sumOf(t, first.Disk) != sumOf(t, s.file("anew/disk.raw")) {
			t.Error("other bytes came out")
		}
	})
	t.Run("interrupted, with the last disk in place", func(t *testing.T) {
		before := sumOf(t, first.Disk)
		s.write(t, "overlays/base/etc/motd", "changed\n")
		ctx, interrupt := context.WithCancel(t.Context())
		interrupt()
		if _, err := s.build(ctx); !errors.Is(err, context.Canceled) {
			t.Errorf("got %v", err)
		}
		if sumOf(t, first.Disk) != before {
			t.Error("the last disk changed")
		}
		s.clean(t, "disk.raw", "lock.json", "result.json")
	})
	t.Run("a damaged store is mended", func(t *testing.T) {
		s.each(t, "store/blobs/*/*", flip)
		var err error
		for tries := range 4 {
			if _, err = s.build(t.Context(), "--lock", first.Lock, "--no-cache", "--out", s.file("mended")); err == nil {
				break
			}
			if diag.ExitCode(err) != diag.ExitIO || !strings.Contains(err.Error(), "build again") {
				t.Fatalf("build %d: %v", tries, err)
			}
			s.clean(t, "disk.raw", "lock.json", "result.json")
		}
		if err != nil {
			t.Error(err)
		}
	})
	t.Run("a disk that is too small for it", func(t *testing.T) {
		small := s.file("small")
		if err := os.Mkdir(small, 0o755); err != nil {
			t.Fatal(err)
		}
		if err := unix.Mount("tmpfs", small, "tmpfs", 0, "size=100k"); err != nil {
			t.Skipf("mounting a small disk needs root: %v", err)
		}
		t.Cleanup(func() { unix.Unmount(small, unix.MNT_DETACH) })
		_, err := s.build(t.Context(), "--out", filepath.Join(small, "out"))
		if err == nil || diag.ExitCode(err) != diag.ExitIO || !strings.Contains(err.Error(), "no space left on device; free some space, or name another folder with --out") || strings.Contains(err.Error(), "\n") {
			t.Errorf("got %v, exit status %d", err, diag.ExitCode(err))
		}
		left, err := filepath.Glob(filepath.Join(small, "out/*"))
		hidden, _ := filepath.Glob(filepath.Join(small, "out/.*"))
		if err != nil || len(left) != 1 || len(hidden) > 0 { // the lock
			t.Errorf("left: %q and %q, %v", left, hidden, err)
		}
	})
	t.Run("partitions that are too small", func(t *testing.T) {
		for field, want := range map[string]string{
			"root: 64MiB":  "DIR/profiles/p.yaml:13:27: disk.root is too small: ",
			"boot: 64MiB":  "DIR/profiles/p.yaml:13:14: the boot partition of 1.0 MB is too small for the kernel of ",
			"state: 16MiB": "DIR/profiles/p.yaml:13:55: disk.state must be a whole number of MiB from 16MiB to 1TiB",
		} {
			s.edit(t, "profiles/p.yaml", field, strings.Split(field, ":")[0]+": 1MiB")
			_, err := s.build(t.Context())
			if err == nil || !strings.HasPrefix(s.plain(err.Error()), want) || diag.ExitCode(err) != diag.ExitInput {
				t.Errorf("%s: got %v", field, err)
			}
			s.edit(t, "profiles/p.yaml", strings.Split(field, ":")[0]+": 1MiB", field)
		}
		s.clean(t, "disk.raw", "lock.json", "result.json")
	})
}
