package qemu

import (
	"bytes"
	"context"
	"io"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"time"

	"golang.org/x/sys/unix"
)

// probeTime is how long a guest under KVM may take to print its first line.
// A real one needs less than a second.
const probeTime = 20 * time.Second

// Accelerator returns "kvm" if a guest really runs with it here, else "tcg":
// /dev/kvm may exist, even start firmware, and still run no kernel. The
// kernel that kernel() yields is what is tried. The answer is kept in
// cacheDir until the machine is booted again.
func Accelerator(ctx context.Context, arch, cacheDir string, kernel func() (io.ReadCloser, error)) (string, error) {
	m, ok := machines()[arch]
	if !ok || arch != runtime.GOARCH || !m.probe || unix.Access("/dev/kvm", unix.R_OK|unix.W_OK) != nil {
		return "tcg", nil
	}
	boot, _ := os.ReadFile("/proc/sys/kernel/random/boot_id")
	cache := filepath.Join(cacheDir, "accelerator")
	if known, err := os.ReadFile(cache); err == nil {
		if id, answer, ok := strings.Cut(string(known), " "); ok && id == strings.TrimSpace(string(boot)) {
			return answer, nil
		}
	}
	answer, err := probe(ctx, arch, kernel)
	if err != nil {
		return "", err
	}
	if os.MkdirAll(cacheDir, 0o755) == nil {
		// Not being able to keep the answer only costs the next probe.
		os.WriteFile(cache, []byte(strings.TrimSpace(string(boot))+" "+answer), 0o644)
	}
	return answer, nil
}

func probe(parent context.Context, arch string, kernel func() (io.ReadCloser, error)) (string, error) {
	dir, err := os.MkdirTemp("", "slipway-probe-")
	if err != nil {
		return "", err
	}
	defer os.RemoveAll(dir)
	file := filepath.Join(dir, "kernel")
	if err := copyTo(file, kernel); err != nil {
		return "", err
	}
	ctx, cancel := context.WithTimeout(parent, probeTime)
	defer cancel()
	console := &watcher{want: []byte("Linux version"), found: make(chan struct{})}
	vm, err := Start(ctx, Options{
		Architecture: arch, Dir: dir, Memory: 512, CPUs: 1, Accelerator: "kvm", Console: console,
		Kernel: file, Append: "console=ttyS0 console=ttyAMA0 earlyprintk=serial panic=-1",
	})
	if err != nil {
		return "", err
	}
	defer vm.Kill()
	select {
	case <-console.found:
		return "kvm", nil
	case <-vm.Done():
		select {
		case <-console.found:
			return "kvm", nil
		default:
		}
	case <-ctx.Done():
	}
	return "tcg", parent.Err()
}

func copyTo(file string, open func() (io.ReadCloser, error)) error {
	r, err := open()
	if err != nil {
		return err
	}
	defer r.Close()
	w, err := os.Create(file)
	if err != nil {
		return err
	}
	defer w.Close()
	_, err = io.Copy(w, r)
	return err
}

// watcher waits for a text to pass by.
type watcher struct {
	want  []byte
	found chan struct{}
	once  sync.Once
	seen  []byte
}

func (w *watcher) Write(p []byte) (int, error) {
	w.seen = append(w.seen, p...)
	if bytes.Contains(w.seen, w.want) {
		w.once.Do(func() { close(w.found) })
	}
	if over := len(w.seen) - len(w.want); over > 0 {
		w.seen = append(w.seen[:0], w.seen[over:]...)
	}
	return len(p), nil
}
