package ethernet

import (
	"bytes"
	"testing"
)

func FuzzReadFrame(f *testing.F) {
	frame := append([]byte{0, 0, 0, 16}, "destinsourceTYxx"...)
	f.Add(frame)
	f.Add(append(bytes.Clone(frame), frame...))
	f.Add([]byte{0, 0, 0, 13})
	f.Add([]byte{0xff, 0xff, 0xff, 0xff})
	f.Fuzz(func(t *testing.T, data []byte) {
		r := bytes.NewReader(data)
		var read []byte
		for {
			f, err := readFrame(r)
			if err != nil {
				break
			}
			if n := len(f.payload()); n < header || n > maxFrame {
				t.Fatalf("a frame of %d bytes", n)
			}
			f.source().group()
			f.destination().group()
			read = append(read, f...)
		}
		if !bytes.HasPrefix(data, read) {
			t.Error("what was read is not what was sent")
		}
	})
}
