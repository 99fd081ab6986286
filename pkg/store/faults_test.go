package store_test

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/slipway-os/slipway/pkg/diag"
	"github.com/slipway-os/slipway/pkg/store"
	"github.com/slipway-os/slipway/pkg/tree"
)

// blob returns the n-th of some blobs: tens of kilobytes.
func blob(n int) []byte { return bytes.Repeat([]byte(fmt.Sprintf("blob %d ", n)), 4000) }

const blobs = 40

// TestSeveralProcessesUseAStore kills some of them.
func TestSeveralProcessesUseAStore(t *testing.T) {
	const variable = "SHARED_STORE"
	if dir := os.Getenv(variable); dir != "" {
		useStore(t, dir)
		return
	}
	dir := t.TempDir()
	var children []*exec.Cmd
	for i := range 4 {
		c := exec.Command(os.Args[0], "-test.run=^TestSeveralProcessesUseAStore$")
		c.Env = append(os.Environ(), variable+"="+dir)
		out, err := c.StdoutPipe()
		if err != nil {
			t.Fatal(err)
		}
		if err := c.Start(); err != nil {
			t.Fatal(err)
		}
		children = append(children, c)
		lines := bufio.NewScanner(out)
		if i%2 == 1 {
			for range i * 7 { // somewhere in the middle
				lines.Scan()
			}
			if err := c.Process.Kill(); err != nil {
				t.Fatal(err)
			}
		}
		go func() {
			for lines.Scan() {
			}
		}()
	}
	for i, c := range children {
		if err := c.Wait(); (err != nil) != (i%2 == 1) {
			t.Errorf("process %d: %v", i, err)
		}
	}
	s, err := store.Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	if dropped, err := s.Scrub(t.Context()); dropped != 0 || err != nil {
		t.Errorf("%d blobs are damaged, %v", dropped, err)
	}
	for n := range blobs {
		var d tree.Digest
		if err := s.Load("blob", store.Key(n), &d); err != nil || d != tree.Bytes(blob(n)).Digest() {
			t.Errorf("record %d: %v, %v", n, d, err)
		}
		if _, err := s.Blob(d, int64(len(blob(n)))); err != nil {
			t.Errorf("blob %d: %v", n, err)
		}
	}
	// Whoever was killed holds no lock any more.
	unlock, err := s.Lock(t.Context(), "everybody's")
	if err != nil {
		t.Fatal(err)
	}
	unlock()
}

func useStore(t *testing.T, dir string) {
	s, err := store.Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	for n := range blobs {
		unlock, err := s.Lock(t.Context(), "everybody's")
		if err != nil {
			t.Fatal(err)
		}
		c, err := s.Put(bytes.NewReader(blob(n)))
		if err != nil {
			t.Fatal(err)
		}
		if err := s.Save("blob", store.Key(n), c.Digest()); err != nil {
			t.Fatal(err)
		}
		unlock()
		fmt.Println(n)
	}
}

func TestDiskFull(t *testing.T) {
	dir := t.TempDir()
	if err := unix.Mount("tmpfs", dir, "tmpfs", 0, "size=256k"); err != nil {
		t.Skipf("mounting a small disk needs root: %v", err)
	}
	t.Cleanup(func() { unix.Unmount(dir, unix.MNT_DETACH) })
	s, err := store.Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	full := func(what string, err error) {
		t.Helper()
		if !errors.Is(err, unix.ENOSPC) || diag.ExitCode(err) != diag.ExitIO || !bytes.Contains([]byte(err.Error()), []byte("free some space, or name another store with --store")) {
			t.Errorf("%s: got %v, exit status %d", what, err, diag.ExitCode(err))
		}
	}
	large := make([]byte, 1<<20)
	_, err = s.Put(bytes.NewReader(large))
	full("a blob", err)
	full("a record", s.Save("kind", store.Key(), large))
	for _, sub := range []string{"blobs/*/*", "records/*/*/*", "tmp/*"} {
		if left, err := filepath.Glob(filepath.Join(dir, sub)); err != nil || len(left) > 0 {
			t.Errorf("left: %q, %v", left, err)
		}
	}
	if _, err := s.Put(bytes.NewReader(large[:1000])); err != nil {
		t.Errorf("there is space again: %v", err)
	}
}
