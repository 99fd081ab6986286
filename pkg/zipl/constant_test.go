package zipl_test

import (
	"bytes"
	"errors"
	"io"
	"testing"

	"github.com/slipway-os/slipway/pkg/zipl"
)

func section(b []byte) *io.SectionReader {
	return io.NewSectionReader(bytes.NewReader(b), 0, int64(len(b)))
}

// constant returns what disks that start a kernel have in common.
func constant(t *testing.T, kernel *io.SectionReader) []byte {
	t.Helper()
	r, err := zipl.Constant(kernel)
	if err != nil {
		t.Fatal(err)
	}
	b, err := io.ReadAll(r)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func TestConstantIsTheSameWhateverIsWritten(t *testing.T) {
	for _, room := range []uint64{0, 0x1000} {
		image := kernel(0x22001, room)
		want := constant(t, section(image))
		if len(want) != 0x12200 {
			t.Errorf("%d bytes", len(want))
		}
		for _, line := range []string{"", "quiet console=ttysclp0"} {
			d := write(t, image, make([]byte, 513+len(line)), line)
			c, err := zipl.Read(bytes.NewReader(d.data), int64(len(d.data)))
			if err != nil {
				t.Fatal(err)
			}
			if got := constant(t, c.Kernel); !bytes.Equal(got, want) {
				t.Errorf("with the command line %q it differs", line)
			}
			for _, at := range []int64{0, 0x3ff, 0x418, 0x12000} {
				changed := bytes.Clone(d.data)
				changed[offset+8*512+at] ^= 1
				c, err := zipl.Read(bytes.NewReader(changed), int64(len(changed)))
				if err != nil {
					t.Fatal(err)
				}
				if bytes.Equal(constant(t, c.Kernel), want) {
					t.Errorf("byte %#x may be anything", at)
				}
			}
		}
	}
}

func TestConstantOfSomethingElse(t *testing.T) {
	for name, b := range map[string][]byte{
		"nothing":         nil,
		"another program": make([]byte, 0x20000),
		"a cut off one":   kernel(0x22000, 0)[:0x10010],
	} {
		if _, err := zipl.Constant(section(b)); !errors.Is(err, zipl.ErrKernel) {
			t.Errorf("%s: %v", name, err)
		}
	}
}
