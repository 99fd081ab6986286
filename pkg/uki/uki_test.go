package uki_test

import (
	"bytes"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"crypto/x509/pkix"
	"debug/pe"
	"encoding/binary"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"math/big"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/slipway-os/slipway/pkg/tree"
	"github.com/slipway-os/slipway/pkg/uki"
	"github.com/slipway-os/slipway/pkg/uki/ukitest"
)

func TestSectionsReadBack(t *testing.T) {
	kernel := bytes.Repeat([]byte("kernel"), 1000)
	sections := []uki.Section{
		{".cmdline", tree.String("quiet\x00")},
		{".linux", tree.Bytes(kernel)},
	}
	img, err := uki.New(ukitest.Stub(false), sections)
	if err != nil {
		t.Fatal(err)
	}
	data, err := tree.ReadAll(img, 1<<20)
	if err != nil || int64(len(data)) != img.Size() {
		t.Fatalf("%d bytes, %v; size %d", len(data), err, img.Size())
	}
	out := bytes.NewBuffer(data)
	opened, err := img.Open()
	if err != nil {
		t.Fatal(err)
	}
	defer opened.Close()
	for _, step := range []int{1, 7, 511, 4096} {
		again := make([]byte, 0, len(data))
		for buf := make([]byte, step); ; {
			n, err := opened.ReadAt(buf, int64(len(again)))
			again = append(again, buf[:n]...)
			if err != nil {
				break
			}
		}
		if !bytes.Equal(again, data) {
			t.Errorf("read %d bytes at a time, the image differs", step)
		}
	}
	f, err := pe.NewFile(bytes.NewReader(out.Bytes()))
	if err != nil {
		t.Fatal(err)
	}
	end := uint32(0)
	for _, s := range f.Sections {
		if s.VirtualAddress < end || s.VirtualAddress%0x1000 != 0 || s.Offset%0x200 != 0 {
			t.Errorf("section %s at %#x overlaps or is not aligned", s.Name, s.VirtualAddress)
		}
		end = s.VirtualAddress + s.VirtualSize
	}
	if got := f.OptionalHeader.(*pe.OptionalHeader64).SizeOfImage; got < end {
		t.Errorf("SizeOfImage %#x, sections end at %#x", got, end)
	}
	r, err := uki.ReadSection(bytes.NewReader(out.Bytes()), ".linux")
	if err != nil {
		t.Fatal(err)
	}
	if got, _ := io.ReadAll(r); !bytes.Equal(got, kernel) {
		t.Errorf("read %d bytes back, not the kernel", len(got))
	}
}

// sbsign reads the image, appends a signature over all of it, and sbverify
// finds it in order. Both complain of sections that overlap, of gaps between
// them and of data that no section covers.
func TestSignersAgree(t *testing.T) {
	for _, name := range []string{"sbsign", "sbverify"} {
		if _, err := exec.LookPath(name); err != nil {
			t.Fatalf("%s is not installed (on Debian: apt-get install sbsigntool)", name)
		}
	}
	dir := t.TempDir()
	key, cert := certificate(t, dir)
	for name, sections := range map[string][]uki.Section{
		"whole pages": {{".linux", tree.Bytes(make([]byte, 8192))}},
		"odd lengths": {{".osrel", tree.String("ID=x")}, {".cmdline", tree.String("quiet\x00")}, {".initrd", tree.Bytes(make([]byte, 5000))}, {".linux", tree.Bytes(make([]byte, 70001))}},
	} {
		t.Run(name, func(t *testing.T) {
			img, err := uki.New(ukitest.Stub(false), sections)
			if err != nil {
				t.Fatal(err)
			}
			data, err := tree.ReadAll(img, 1<<20)
			if err != nil {
				t.Fatal(err)
			}
			file, signed := filepath.Join(t.TempDir(), "uki.efi"), filepath.Join(t.TempDir(), "signed.efi")
			if err := os.WriteFile(file, data, 0o644); err != nil {
				t.Fatal(err)
			}
			for _, args := range [][]string{
				{"sbsign", "--key", key, "--cert", cert, "--output", signed, file},
				{"sbverify", "--cert", cert, signed},
			} {
				out, err := exec.Command(args[0], args[1:]...).CombinedOutput()
				if err != nil || strings.Contains(string(out), "warning") {
					t.Errorf("%s: %v: %s", args[0], err, out)
				}
			}
		})
	}
}

// certificate writes a key and its own certificate for it.
func certificate(t *testing.T, dir string) (key, cert string) {
	t.Helper()
	private, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "test"}, NotAfter: time.Now().Add(time.Hour)}
	der, err := x509.CreateCertificate(rand.Reader, template, template, private.Public(), private)
	if err != nil {
		t.Fatal(err)
	}
	pkcs8, err := x509.MarshalPKCS8PrivateKey(private)
	if err != nil {
		t.Fatal(err)
	}
	key, cert = filepath.Join(dir, "key.pem"), filepath.Join(dir, "cert.pem")
	for file, block := range map[string]*pem.Block{key: {Type: "PRIVATE KEY", Bytes: pkcs8}, cert: {Type: "CERTIFICATE", Bytes: der}} {
		if err := os.WriteFile(file, pem.EncodeToMemory(block), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return key, cert
}

// Where the sections lie in memory: one after another from the end of the
// stub's own, on pages.
func TestAddresses(t *testing.T) {
	img, err := uki.New(ukitest.Stub(false), []uki.Section{{".a", tree.Bytes(make([]byte, 4097))}, {".b", tree.String("b")}, {".eight_8", tree.String("c")}})
	if err != nil {
		t.Fatal(err)
	}
	data, err := tree.ReadAll(img, 1<<20)
	if err != nil {
		t.Fatal(err)
	}
	f, err := pe.NewFile(bytes.NewReader(data))
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, s := range f.Sections {
		got = append(got, fmt.Sprintf("%s at %#x, %d bytes; in the file at %#x, %d; %#x", s.Name, s.VirtualAddress, s.VirtualSize, s.Offset, s.Size, s.Characteristics))
	}
	want := []string{
		".text at 0x1000, 291 bytes; in the file at 0x400, 1024; 0x0",
		".a at 0x2000, 4097 bytes; in the file at 0x800, 4608; 0x40000040",
		".b at 0x4000, 1 bytes; in the file at 0x1a00, 512; 0x40000040",
		".eight_8 at 0x5000, 1 bytes; in the file at 0x1c00, 512; 0x40000040",
	}
	if !slices.Equal(got, want) {
		t.Errorf("sections\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
	if int64(len(data)) != 0x1e00 {
		t.Errorf("the image has %#x bytes", len(data))
	}
}

func TestDamageIsFound(t *testing.T) {
	file := filepath.Join(t.TempDir(), "kernel")
	if err := os.WriteFile(file, []byte("kernel"), 0o600); err != nil {
		t.Fatal(err)
	}
	img, err := uki.New(ukitest.Stub(false), []uki.Section{{".linux", tree.Section(file, 0, 6, tree.String("kernel").Digest())}})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := tree.ReadAll(img, 1<<20); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(file, []byte("kernal"), 0o600); err != nil {
		t.Fatal(err)
	}
	var damaged *tree.DamagedError
	if _, err := tree.ReadAll(img, 1<<20); !errors.As(err, &damaged) || !strings.Contains(err.Error(), `section ".linux"`) {
		t.Errorf("got %v", err)
	}
}

// far is content that nobody reads.
type far struct {
	tree.Content
	size int64
}

func (f far) Size() int64 { return f.size }

func TestRefusals(t *testing.T) {
	put := func(at int, v uint32) func([]byte) []byte {
		return func(b []byte) []byte { binary.LittleEndian.PutUint32(b[at:], v); return b }
	}
	many := make([]uki.Section, 40)
	for i := range many {
		many[i] = uki.Section{Name: ".x", Content: tree.String("x")}
	}
	x := many[:1]
	const optional = 0x80 + 24
	for name, c := range map[string]struct {
		change   func([]byte) []byte
		sections []uki.Section
		want     string
	}{
		"too many sections":      {nil, many, "has room for"},
		"zeros":                  {func(b []byte) []byte { return make([]byte, len(b)) }, x, "not a PE program"},
		"nothing":                {func(b []byte) []byte { return nil }, x, "0 bytes are no PE program"},
		"cut off":                {func(b []byte) []byte { return b[:0x90] }, x, "not a PE program"},
		"header far away":        {put(0x3c, 0xffffffff), x, "not a PE program"},
		"header in the header":   {put(0x3c, 0x1c), x, "not a PE program"},
		"program of 32 bits":     {put(optional, 0x10b), x, "not a PE program"},
		"no alignment":           {put(optional+32, 0), x, "contradict"},
		"huge alignment":         {put(optional+36, 1<<30), x, "contradict"},
		"headers beyond the end": {put(optional+60, 1<<20), x, "contradict"},
		"small optional header":  {put(0x80+20, 40), x, "contradict"},
		"section far up":         {put(optional+240+12, 0xfffff000), x, "would be too large"},
		"signed":                 {put(optional+112+8*4, 0x600), x, "it is signed"},
		"long name":              {nil, []uki.Section{{".ninechar", tree.String("x")}}, "at most eight bytes"},
		"no name":                {nil, []uki.Section{{"", tree.String("x")}}, "at most eight bytes"},
		"no content":             {nil, []uki.Section{{".x", nil}}, "and content"},
		"empty content":          {nil, []uki.Section{{".x", tree.String("")}}, "and content"},
		"too large":              {nil, []uki.Section{{".x", far{size: 1 << 62}}}, "would be too large"},
	} {
		t.Run(name, func(t *testing.T) {
			b := ukitest.Stub(false)
			if c.change != nil {
				b = c.change(b)
			}
			if _, err := uki.New(b, c.sections); err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("got %v, want %q", err, c.want)
			}
		})
	}
}

func FuzzNew(f *testing.F) {
	f.Add(ukitest.Stub(false))
	f.Fuzz(func(t *testing.T, b []byte) {
		img, err := uki.New(b, []uki.Section{{".x", tree.String("x")}})
		if err != nil {
			return
		}
		if img.Size() > 64<<20 {
			t.Errorf("%d bytes", img.Size())
		}
		// What was added is found again, where others can read the stub at all.
		data, err := tree.ReadAll(img, 64<<20)
		if err != nil {
			t.Fatal(err)
		}
		file, err := pe.NewFile(bytes.NewReader(data))
		if err != nil {
			return
		}
		s := file.Sections[len(file.Sections)-1]
		if got, err := s.Data(); err != nil || !bytes.HasPrefix(got, []byte("x")) {
			t.Errorf("section %q holds %.9q, %v", s.Name, got, err)
		}
	})
}

func FuzzReadSection(f *testing.F) {
	img, err := uki.New(ukitest.Stub(false), []uki.Section{{".linux", tree.String("kernel")}})
	if err != nil {
		f.Fatal(err)
	}
	data, err := tree.ReadAll(img, 1<<20)
	if err != nil {
		f.Fatal(err)
	}
	f.Add(data)
	f.Add(ukitest.Stub(false))
	f.Fuzz(func(t *testing.T, b []byte) {
		r, err := uki.ReadSection(bytes.NewReader(b), ".linux")
		if err != nil {
			return
		}
		if got, err := io.ReadAll(r); err != nil || int64(len(got)) != r.Size() {
			t.Errorf("read %d of %d bytes, %v", len(got), r.Size(), err)
		}
	})
}
