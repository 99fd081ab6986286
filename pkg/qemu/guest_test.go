package qemu

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// A person logs in with the private key as the machine lets the public one in.
func TestKey(t *testing.T) {
	key, err := NewKey()
	if err != nil {
		t.Fatal(err)
	}
	private, err := key.Private()
	if err != nil {
		t.Fatal(err)
	}
	judge, err := exec.LookPath("ssh-keygen")
	if err != nil {
		t.Skip("ssh-keygen is missing, which judges the key: `make judges` installs it, and `make test` does so first")
	}
	file := filepath.Join(t.TempDir(), "key")
	if err := os.WriteFile(file, private, 0o600); err != nil {
		t.Fatal(err)
	}
	out, err := exec.Command(judge, "-y", "-f", file).CombinedOutput()
	if got := strings.TrimSpace(string(out)); err != nil || got != key.Authorized() {
		t.Errorf("ssh-keygen: %v: got %s, want %s", err, got, key.Authorized())
	}
}
