package zipl_test

import (
	"bytes"
	"encoding/binary"
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

func TestVersion(t *testing.T) {
	const version = "6.12.107+deb13-s390x (someone@host) #1"
	image := kernel(0x22001, 0x1000)
	copy(image[0x21000:], version+"\x00")
	binary.BigEndian.PutUint64(image[0x10428:], 0x21000)
	c, err := zipl.Read(bytes.NewReader(write(t, image, nil, "quiet").data), offset+room)
	if err != nil {
		t.Fatal(err)
	}
	for name, kernel := range map[string]*io.SectionReader{"image": section(image), "disk": c.Kernel} {
		if got, err := zipl.Version(kernel); got != version || err != nil {
			t.Errorf("%s: %q, %v", name, got, err)
		}
	}
	for _, at := range []uint64{0, 0xffff, 1 << 62, 1 << 63} {
		binary.BigEndian.PutUint64(image[0x10428:], at)
		if got, err := zipl.Version(section(image)); got != "" || err != nil {
			t.Errorf("at %#x: %q, %v", at, got, err)
		}
	}
}
