package kernel_test

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"io"
	"strings"
	"testing"

	"github.com/slipway-os/slipway/pkg/kernel"
	"github.com/slipway-os/slipway/pkg/tree"
	"github.com/slipway-os/slipway/pkg/zipl"
)

func section(text string) *io.SectionReader {
	return io.NewSectionReader(strings.NewReader(text), 0, int64(len(text)))
}

// x86 returns the set-up code of an image for x86 with a text at an offset.
func x86(at uint16, text string) string {
	b := make([]byte, 0x4000)
	copy(b[0x202:], "HdrS")
	binary.LittleEndian.PutUint16(b[0x20e:], at-0x200)
	copy(b[at:], text)
	return string(b)
}

func ibmZ(at uint64, text string) string {
	b := make([]byte, 0x20000)
	copy(b[0x10008:], "S390EP")
	binary.BigEndian.PutUint64(b[0x10428:], at)
	copy(b[0x18000:], text)
	return string(b)
}

func TestRelease(t *testing.T) {
	noise := strings.Repeat("Linux version %s\x00\xff", 100_000)
	for _, c := range []struct{ name, image, want string }{
		{"x86", x86(0x3500, "6.12.107+deb13-cloud-amd64 (debian-kernel@lists.debian.org) #1 SMP Debian\x00"), "6.12.107+deb13-cloud-amd64"},
		{"IBM Z", ibmZ(0x18000, "6.12.107+deb13-s390x (debian-kernel@lists.debian.org) #1\x00"), "6.12.107+deb13-s390x"},
		{"others, by their greeting", "\x01Linux version 6.12.107+deb13-powerpc64le (debian-kernel@lists.debian.org) (gcc-14) #1", "6.12.107+deb13-powerpc64le"},
		{"behind much else, across pieces", noise[:1<<20-10] + "Linux version 6.1.0 (a@b) " + noise, "6.1.0"},
		{"a pattern for printf alone", noise, ""},
		{"x86, at a place where there is none", x86(0x3500, "\x00"), ""},
		{"x86, outside of it", x86(0x3ff0, "")[:0x3000], ""},
		{"IBM Z, at a place where there is none", ibmZ(0x18000, ""), ""},
		{"a release too long", "Linux version 6.1." + strings.Repeat("0", 64) + " (a@b)", ""},
		{"nothing", "", ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			got, err := kernel.Release(section(c.image))
			if got != c.want || (c.want == "") != errors.Is(err, kernel.ErrRelease) {
				t.Errorf("got %q, %v, want %q", got, err, c.want)
			}
		})
	}
}

func TestDigest(t *testing.T) {
	got, err := kernel.Digest(section("MZ…"))
	if err != nil || got != sha256.Sum256([]byte("MZ…")) {
		t.Errorf("%s, %v", got, err)
	}
	// The firmware of IBM Z does not load all of an image, and it is changed.
	b := bytes.Repeat([]byte{7}, 0x21001)
	copy(b[0x10008:], "S390EP")
	clear(b[0x10400:0x10480])
	binary.BigEndian.PutUint64(b[0x10430:], 0x1000)
	want, err := kernel.Digest(section(string(b)))
	if err != nil {
		t.Fatal(err)
	}
	d := disk{make([]byte, 1<<20)}
	if err := zipl.Write(t.Context(), d, 4096, 1<<20-4096, zipl.Program{Kernel: tree.Bytes(b), Initrd: tree.String("initrd"), CommandLine: "quiet"}); err != nil {
		t.Fatal(err)
	}
	c, err := zipl.Read(bytes.NewReader(d.data), int64(len(d.data)))
	if err != nil {
		t.Fatal(err)
	}
	if got, err := kernel.Digest(c.Kernel); err != nil || got != want {
		t.Errorf("on a disk %s, %v, want %s", got, err, want)
	}
}

type disk struct{ data []byte }

func (d disk) WriteAt(p []byte, off int64) (int, error) { return copy(d.data[off:], p), nil }

func FuzzRelease(f *testing.F) {
	f.Add([]byte("Linux version 6.12.107+deb13-arm64 (someone@host) #1"))
	f.Add([]byte(x86(0x3ff0, "6.12.107+deb13-amd64")))
	f.Fuzz(func(t *testing.T, data []byte) {
		release, err := kernel.Release(section(string(data)))
		if (err == nil) != (release != "") || !strings.Contains(string(data), release) || strings.ContainsAny(release, " \x00\n\x1b") {
			t.Errorf("got %q, %v", release, err)
		}
	})
}
