package deb

import (
	"bytes"
	"io"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/mikelolasagasti/xz"
)

// sample is 30 kB of which xz makes about a half.
func sample() []byte {
	r := rand.New(rand.NewPCG(1, 2))
	data := make([]byte, 30_000)
	for i := range data {
		data[i] = byte('a' + r.IntN(16))
	}
	return data
}

func decodeMember(t testing.TB, name string, data []byte) ([]byte, error) {
	r, err := newDecoder(2).open(t.Context(), bytes.NewReader(data), member{name, 0, int64(len(data))})
	if err != nil {
		return nil, err
	}
	defer r.Close()
	return io.ReadAll(io.LimitReader(r, 1<<20))
}

func TestXz(t *testing.T) {
	data := sample()
	for _, c := range []struct {
		name   string
		packed []byte
		blocks int // that can be decoded in parallel
	}{
		{"one block", xzed(t, data), 1},
		{"several blocks", xzed(t, data, "--block-size=6554"), 5},
		{"several blocks with sizes in their headers", xzed(t, data, "-T2", "--block-size=6554"), 5},
		{"another check", xzed(t, data, "--check=sha256", "--block-size=10000"), 3},
		{"an older check", xzed(t, data, "--check=crc32", "--block-size=10000"), 3},
		{"no check", xzed(t, data, "--check=none", "--block-size=10000"), 3},
		{"a filter for programs", xzed(t, data, "--x86", "--lzma2=preset=0", "--block-size=10000"), 3},
		{"two streams", slices.Concat(xzed(t, data[:10_000]), xzed(t, data[10_000:], "--block-size=6554")), 0},
		{"padding at the end", append(xzed(t, data, "--block-size=10000"), 0, 0, 0, 0), 0},
		{"nothing", xzed(t, nil), 0},
	} {
		t.Run(c.name, func(t *testing.T) {
			blocks, err := xzBlocks(bytes.NewReader(c.packed), int64(len(c.packed)))
			if err != nil || len(blocks) != c.blocks {
				t.Errorf("%d blocks, want %d: %v", len(blocks), c.blocks, err)
			}
			want := data
			if c.name == "nothing" {
				want = nil
			}
			if got, err := decodeMember(t, "data.tar.xz", c.packed); err != nil || !bytes.Equal(got, want) {
				t.Errorf("got %d bytes, %v", len(got), err)
			}
		})
	}
}

func TestOtherCompressions(t *testing.T) {
	data := sample()
	for _, c := range []struct {
		name   string
		packed []byte
	}{
		{"data.tar", data},
		{"data.tar.gz", gzipped(t, data)},
		{"data.tar.gz", slices.Concat(gzipped(t, data[:1000]), gzipped(t, data[1000:]))}, // two members
		{"data.tar.zst", zstded(t, data)},
		{"data.tar.zst", slices.Concat(zstded(t, data[:1000]), zstded(t, data[1000:]))}, // two frames
	} {
		if got, err := decodeMember(t, c.name, c.packed); err != nil || !bytes.Equal(got, data) {
			t.Errorf("%s: got %d bytes, %v", c.name, len(got), err)
		}
	}
}

// What is damaged is found, wherever it is: in a block, in the index or in
// the footer.
func TestDamagedXz(t *testing.T) {
	packed := xzed(t, sample(), "--block-size=6554")
	const tail = 50 // index and footer
	for at := 0; at < len(packed); at++ {
		if at < len(packed)-tail && at%197 != 0 {
			continue
		}
		damaged := bytes.Clone(packed)
		damaged[at] ^= 1
		if got, err := decodeMember(t, "data.tar.xz", damaged); err == nil {
			t.Errorf("byte %d: got %d bytes and no error", at, len(got))
		}
	}
}

// What is decoded block by block is what a decoder that knows nothing of
// blocks makes of it.
func FuzzXz(f *testing.F) {
	small := []byte("some text, some text, some text")
	for _, args := range [][]string{nil, {"--block-size=10"}, {"--block-size=10", "-T2", "--check=crc32"}} {
		f.Add(xzed(f, small, args...))
	}
	f.Add(slices.Concat(xzed(f, small), xzed(f, nil)))
	f.Fuzz(func(t *testing.T, packed []byte) {
		got, err := decodeMember(t, "data.tar.xz", packed)
		if err != nil {
			return
		}
		r, err := xz.NewReader(bytes.NewReader(packed), xzMaxDict)
		if err != nil {
			t.Fatalf("accepted what is no xz data: %v", err)
		}
		want, err := io.ReadAll(io.LimitReader(r, 1<<20))
		if err != nil || !bytes.Equal(got, want) {
			t.Errorf("got %q, want %q (%v)", got, want, err)
		}
	})
}
