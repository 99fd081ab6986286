package gpt_test

import (
	"bytes"
	"os"
	"strings"
	"testing"

	"github.com/slipway-os/slipway/pkg/gpt"
)

func TestCheckFindsEveryDamage(t *testing.T) {
	f, _, size := disk(t)
	good, err := os.ReadFile(f.Name())
	if err != nil {
		t.Fatal(err)
	}
	if err := gpt.Check(bytes.NewReader(good), size); err != nil {
		t.Fatal(err)
	}
	end := int(size) / 512
	for name, c := range map[string]struct {
		change func([]byte)
		want   string
	}{
		"signature":                 {func(b []byte) { b[512] ^= 1 }, "checking the partition table"},
		"header":                    {func(b []byte) { b[512+60] ^= 1 }, "checking the partition table"},
		"a name":                    {func(b []byte) { b[1024+60] ^= 1 }, "checking the partition table: the checksum of its entries"},
		"an entry that is not used": {func(b []byte) { b[1024+127*128] ^= 1 }, "checking the partition table: the checksum of its entries"},
		"header of the backup":      {func(b []byte) { b[len(b)-500] ^= 1 }, "checking the backup partition table"},
		"a name in the backup":      {func(b []byte) { b[(end-33)*512+60] ^= 1 }, "checking the backup partition table: the checksum of its entries"},
		"another backup":            {func(b []byte) { field(b, end-1, 32, 7) }, "its backup differs"},
		"a backup elsewhere":        {func(b []byte) { field(b, 1, 32, 1<<31) }, "outside the disk"},
	} {
		t.Run(name, func(t *testing.T) {
			b := bytes.Clone(good)
			c.change(b)
			if err := gpt.Check(bytes.NewReader(b), size); err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("got %v, want %q", err, c.want)
			}
		})
	}
}

func TestMadeFor(t *testing.T) {
	f, _, size := disk(t)
	head := make([]byte, 1<<20) // of a disk that is cut off
	if _, err := f.ReadAt(head, 0); err != nil {
		t.Fatal(err)
	}
	if got := gpt.MadeFor(bytes.NewReader(head)); got != size {
		t.Errorf("got %d bytes, want %d", got, size)
	}
	head[512+32] ^= 1
	if got := gpt.MadeFor(bytes.NewReader(head)); got != 0 {
		t.Errorf("got %d bytes of a damaged table", got)
	}
}
