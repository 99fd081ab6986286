package readahead_test

import (
	"os"
	"path/filepath"
	"testing"
	"unsafe"

	"golang.org/x/sys/unix"

	"github.com/slipway-os/slipway/pkg/readahead"
)

// resident counts the pages of a file that are in memory (mincore(2)).
func resident(t *testing.T, name string) (pages, all int) {
	t.Helper()
	f, err := os.Open(name)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		t.Fatal(err)
	}
	m, err := unix.Mmap(int(f.Fd()), 0, int(info.Size()), unix.PROT_READ, unix.MAP_SHARED)
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Munmap(m)
	vec := make([]byte, (len(m)+os.Getpagesize()-1)/os.Getpagesize())
	if _, _, errno := unix.Syscall(unix.SYS_MINCORE, uintptr(unsafe.Pointer(&m[0])), uintptr(len(m)), uintptr(unsafe.Pointer(&vec[0]))); errno != 0 {
		t.Fatal(errno)
	}
	for _, v := range vec {
		pages += int(v & 1)
	}
	return pages, len(vec)
}

func TestFiles(t *testing.T) {
	dir := t.TempDir()
	name := filepath.Join(dir, "program")
	f, err := os.Create(name)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if _, err := f.Write(make([]byte, 5<<20)); err != nil {
		t.Fatal(err)
	}
	if err := f.Sync(); err != nil {
		t.Fatal(err)
	}
	if err := unix.Fadvise(int(f.Fd()), 0, 0, unix.FADV_DONTNEED); err != nil {
		t.Fatal(err)
	}
	if pages, all := resident(t, name); pages == all {
		t.Skip("this file system keeps its files in memory: name a directory on a disk in TMPDIR")
	}
	if err := readahead.Files(filepath.Join(dir, "missing"), filepath.Join(dir, "prog*")); err != nil {
		t.Fatal(err)
	}
	// Reading goes on behind the call's back.
	for {
		pages, all := resident(t, name)
		if pages == all {
			return
		}
		if t.Context().Err() != nil {
			t.Fatalf("%d of %d pages are in memory", pages, all)
		}
	}
}

func TestBadPattern(t *testing.T) {
	if err := readahead.Files("["); err == nil {
		t.Error("a pattern that is none was taken")
	}
}
