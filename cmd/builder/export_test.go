package main

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/slipway-os/slipway/pkg/diag"
	"github.com/slipway-os/slipway/pkg/image/imagetest"
)

func TestExport(t *testing.T) {
	amd64, s390x := imagetest.Write(t, "amd64"), imagetest.Write(t, "s390x")
	dir := t.TempDir()
	file := filepath.Join(dir, "images.tar")
	out, err := again(t, "export", amd64.File, s390x.File, "--out", file)
	if err != nil || !strings.Contains(out, "2 images") {
		t.Fatalf("%v\n%s", err, out)
	}
	data, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	c := newRootCommand()
	var piped, said bytes.Buffer
	c.SetOut(&piped)
	c.SetErr(&said)
	c.SetArgs([]string{"export", amd64.File, s390x.File, "--out", "-"})
	if err := c.ExecuteContext(t.Context()); err != nil || !bytes.Equal(piped.Bytes(), data) {
		t.Errorf("to standard output: %v; %d bytes, want the %d of the file", err, piped.Len(), len(data))
	}
	if left, err := filepath.Glob(filepath.Join(dir, "*")); err != nil || len(left) != 1 {
		t.Errorf("written: %q, %v", left, err)
	}
}

func TestBadInputToExport(t *testing.T) {
	good, damaged := imagetest.Write(t, "amd64"), imagetest.Write(t, "amd64")
	// Somewhere in what the layers hold.
	for offset := int64(4096); offset < 128<<10; offset += 4096 {
		damaged.Flip(t, "root-a", offset)
	}
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "file"), nil, 0o644); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		name, args, want string
		exit             int
	}{
		{"no image", "--out x.tar", "name an image", diag.ExitInput},
		{"no output", "IMAGE", "name the file to write: --out images.tar", diag.ExitInput},
		{"no such image", "nowhere.raw --out x.tar", "nowhere.raw: no such file or directory", diag.ExitInput},
		{"an output that is read", "IMAGE --out IMAGE", "would be written over", diag.ExitInput},
		{"an output that is a directory", "IMAGE --out DIR", "is a directory; name another", diag.ExitInput},
		{"an output below a file", "IMAGE --out DIR/file/x.tar", "not a directory", diag.ExitIO},
		{"a damaged image", "DAMAGED --out DIR/x.tar", damaged.File, diag.ExitInput},
	} {
		t.Run(c.name, func(t *testing.T) {
			args := strings.NewReplacer("IMAGE", good.File, "DAMAGED", damaged.File, "DIR", dir).Replace(c.args)
			_, err := again(t, append([]string{"export"}, strings.Fields(args)...)...)
			if err == nil || !strings.Contains(err.Error(), c.want) || strings.Contains(err.Error(), "\n") || diag.ExitCode(err) != c.exit {
				t.Errorf("got %v (exit status %d), want %q (%d)", err, diag.ExitCode(err), c.want, c.exit)
			}
			if left, err := filepath.Glob(filepath.Join(dir, "*")); err != nil || len(left) != 1 {
				t.Errorf("left behind: %q, %v", left, err)
			}
			if left, err := filepath.Glob(filepath.Join(dir, ".x*")); err != nil || len(left) != 0 {
				t.Errorf("left behind: %q, %v", left, err)
			}
		})
	}
}
