package deb

import (
	"archive/tar"
	"bytes"
	"fmt"
	"os/exec"
	"strings"
	"testing"

	"github.com/klauspost/compress/gzip"
	"github.com/klauspost/compress/zstd"

	"github.com/slipway-os/slipway/pkg/store"
)

// A package is made here by hand where dpkg-deb would not make it.

const goodControl = "Package: x\nVersion: 1\nArchitecture: all\nMaintainer: Nobody <nobody@example.org>\nDescription: short\n long,\n .\n and longer\n"

// file is an entry of a tar archive; its size is that of the content.
type file struct {
	tar.Header
	content string
}

func makeTar(t testing.TB, files ...file) []byte {
	t.Helper()
	var out bytes.Buffer
	w := tar.NewWriter(&out)
	for _, f := range files {
		f.Size = int64(len(f.content))
		if err := w.WriteHeader(&f.Header); err != nil {
			t.Fatal(err)
		}
		if _, err := w.Write([]byte(f.content)); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return out.Bytes()
}

func controlTar(t testing.TB) []byte {
	return makeTar(t,
		file{Header: tar.Header{Name: "./", Typeflag: tar.TypeDir, Mode: 0o755}},
		file{Header: tar.Header{Name: "./conffiles", Mode: 0o644}, content: "/etc/x.conf\nremove-on-upgrade /etc/old.conf\n"},
		file{Header: tar.Header{Name: "./control", Mode: 0o644}, content: goodControl},
		file{Header: tar.Header{Name: "./postinst", Mode: 0o755}, content: "#!/bin/sh\nexit 1\n"})
}

// arMember is a member of an ar archive.
type arMember struct {
	name string
	data []byte
}

func makeAr(members ...arMember) []byte {
	var out bytes.Buffer
	out.WriteString(arMagic)
	for _, m := range members {
		fmt.Fprintf(&out, "%-16s%-12d%-6d%-6d%-8s%-10d`\n", m.name, 0, 0, 0, "100644", len(m.data))
		out.Write(m.data)
		if len(m.data)%2 == 1 {
			out.WriteByte('\n')
		}
	}
	return out.Bytes()
}

// makeDeb makes a package of a data archive, whose name says how it is
// compressed.
func makeDeb(t testing.TB, dataName string, data []byte) []byte {
	return makeAr(
		arMember{"debian-binary", []byte("2.0\n")},
		arMember{"control.tar", controlTar(t)},
		arMember{"_ignored", []byte("odd")},
		arMember{dataName, data})
}

func gzipped(t testing.TB, data []byte) []byte {
	t.Helper()
	var out bytes.Buffer
	w := gzip.NewWriter(&out)
	w.Write(data)
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return out.Bytes()
}

func zstded(t testing.TB, data []byte) []byte {
	t.Helper()
	w, err := zstd.NewWriter(nil)
	if err != nil {
		t.Fatal(err)
	}
	return w.EncodeAll(data, nil)
}

// xzed compresses with xz, which must be installed.
func xzed(t testing.TB, data []byte, args ...string) []byte {
	t.Helper()
	cmd := exec.Command(need(t, "xz"), append([]string{"-c", "-z"}, args...)...)
	cmd.Stdin = bytes.NewReader(data)
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("xz %s: %v", strings.Join(args, " "), err)
	}
	return out
}

// need returns the path of a program that judges.
func need(t testing.TB, program string) string {
	t.Helper()
	path, err := exec.LookPath(program)
	if err != nil {
		t.Skipf("%s is missing: make judges", program)
	}
	return path
}

func newStore(t testing.TB) *store.Store {
	t.Helper()
	st, err := store.Open(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	return st
}
