package deb

import (
	"archive/tar"
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/slipway-os/slipway/pkg/diag"
	"github.com/slipway-os/slipway/pkg/store"
	"github.com/slipway-os/slipway/pkg/tree"
)

// Packages that dpkg-deb makes are read as dpkg-deb itself reads them.
func TestPackagesAreReadAsDpkgDebReadsThem(t *testing.T) {
	dpkg := need(t, "dpkg-deb")
	dir := t.TempDir()
	write := func(name string, mode os.FileMode, content string) {
		t.Helper()
		name = filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(name), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(name, []byte(content), mode); err != nil {
			t.Fatal(err)
		}
		if err := os.Chmod(name, mode); err != nil {
			t.Fatal(err)
		}
	}
	big := bytes.Repeat([]byte("some text that compresses, "), 40_000) // several blocks where xz is told so
	write("DEBIAN/control", 0o644, goodControl)
	write("DEBIAN/conffiles", 0o644, "/etc/x.conf\n")
	write("DEBIAN/postinst", 0o755, "#!/bin/sh\nexit 1\n")
	write("etc/x.conf", 0o640, "a = b\n")
	write("usr/bin/x", 0o755, string(big))
	write("usr/bin/su", 0o755|os.ModeSetuid, "s")
	write("usr/share/empty", 0o644, "")
	write("usr/share/a name with ünïcode", 0o644, "x")
	write("usr/share/"+strings.Repeat("long/", 60)+"name", 0o644, "x")
	for _, err := range []error{
		os.Symlink("x", filepath.Join(dir, "usr/bin/link")),
		os.Symlink("/etc/"+strings.Repeat("far/", 50), filepath.Join(dir, "usr/bin/dangling")),
		os.Link(filepath.Join(dir, "usr/bin/x"), filepath.Join(dir, "usr/bin/hard")),
		os.MkdirAll(filepath.Join(dir, "var/empty"), 0o700),
	} {
		if err != nil {
			t.Fatal(err)
		}
	}
	for _, c := range [][]string{{"-Znone"}, {"-Zgzip"}, {"-Zxz"}, {"-Zxz", "-z0", "-Sextreme"}, {"-Zzstd"}} {
		t.Run(strings.Join(c, " "), func(t *testing.T) {
			out := filepath.Join(t.TempDir(), "x.deb")
			if msg, err := exec.Command(dpkg, slices.Concat(c, []string{"--root-owner-group", "-b", dir, out})...).CombinedOutput(); err != nil {
				if strings.Contains(string(msg), "unknown compression") {
					t.Skipf("dpkg-deb: %s", msg)
				}
				t.Fatalf("%v: %s", err, msg)
			}
			data, err := os.ReadFile(out)
			if err != nil {
				t.Fatal(err)
			}
			p, err := Open(t.Context(), newStore(t), tree.Bytes(data))
			if err != nil {
				t.Fatal(err)
			}
			archive, err := exec.Command(dpkg, "--fsys-tarfile", out).Output()
			if err != nil {
				t.Fatal(err)
			}
			sameTree(t, p.Tree, archive)
			if p.Tree.Lookup("usr/bin/x") != p.Tree.Lookup("usr/bin/hard") {
				t.Error("hard links are not one file")
			}
			if !slices.Equal(p.Conffiles, []string{"etc/x.conf"}) {
				t.Errorf("conffiles %q", p.Conffiles)
			}
			for _, name := range []string{"Package", "Version", "Maintainer", "Description"} {
				want, err := exec.Command(dpkg, "-f", out, name).Output()
				// dpkg-deb leaves the blank at the start of folded lines.
				if got := strings.ReplaceAll(p.Control[name], "\n", "\n "); err != nil || got+"\n" != string(want) {
					t.Errorf("%s is %q, not %q (%v)", name, got, want, err)
				}
			}
		})
	}
}

// sameTree compares a tree with a tar archive that holds the same.
func sameTree(t *testing.T, got *tree.Tree, archive []byte) {
	t.Helper()
	paths := 0
	for r := tar.NewReader(bytes.NewReader(archive)); ; paths++ {
		h, err := r.Next()
		if err == io.EOF {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
		n := got.Lookup(h.Name)
		if n == nil {
			t.Errorf("%s is missing", h.Name)
			continue
		}
		kind := map[byte]tree.Type{tar.TypeReg: tree.File, tar.TypeLink: tree.File, tar.TypeDir: tree.Dir, tar.TypeSymlink: tree.Symlink}[h.Typeflag]
		if n.Type != kind || int64(n.Mode) != h.Mode&0o7777 || n.UID != uint32(h.Uid) || n.GID != uint32(h.Gid) || n.ModTime != h.ModTime.Unix() {
			t.Errorf("%s is %v, mode %o of %d:%d, time %d; want %+v", h.Name, n.Type, n.Mode, n.UID, n.GID, n.ModTime, h)
		}
		if kind == tree.Symlink && n.Target != h.Linkname {
			t.Errorf("%s leads to %q, not %q", h.Name, n.Target, h.Linkname)
		}
		if h.Typeflag != tar.TypeReg {
			continue
		}
		want, err := io.ReadAll(r)
		if err != nil {
			t.Fatal(err)
		}
		if data, err := tree.ReadAll(n.Content, 1<<30); err != nil || !bytes.Equal(data, want) || n.Digest() != sha256.Sum256(want) {
			t.Errorf("%s: %d bytes (%v), want %d", h.Name, len(data), err, len(want))
		}
	}
	if got.Len() != paths {
		t.Errorf("%d paths, want %d", got.Len(), paths)
	}
}

// What dpkg-deb does not pack without root: devices, owners, extended
// attributes.
func TestSpecialFiles(t *testing.T) {
	at := time.Unix(1_700_000_000, 0)
	capability := "\x01\x00\x00\x02\x00\x04\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00"
	deb := makeDeb(t, "data.tar", makeTar(t,
		file{Header: tar.Header{Name: "./", Typeflag: tar.TypeDir, Mode: 0o755, ModTime: at}},
		file{Header: tar.Header{Name: "./dev/null", Typeflag: tar.TypeChar, Mode: 0o666, Devmajor: 1, Devminor: 3, ModTime: at}},
		file{Header: tar.Header{Name: "./dev/sda", Typeflag: tar.TypeBlock, Mode: 0o660, Gid: 6, Devmajor: 8, ModTime: at}},
		file{Header: tar.Header{Name: "./run/fifo", Typeflag: tar.TypeFifo, Mode: 0o600, ModTime: at}},
		file{Header: tar.Header{Name: "./bin/ping", Mode: 0o755, Uid: 4_000_000_000, Gid: 100_000, ModTime: at,
			PAXRecords: map[string]string{"SCHILY.xattr.security.capability": capability, "SCHILY.xattr.user.b": "2", "SCHILY.xattr.user.a": "1"}}, content: "ping"},
		file{Header: tar.Header{Name: "./bin/ping6", Typeflag: tar.TypeLink, Linkname: "./bin/ping"}},
	))
	p, err := Open(t.Context(), newStore(t), tree.Bytes(deb))
	if err != nil {
		t.Fatal(err)
	}
	n := p.Tree.Lookup("bin/ping6")
	var xattrs []string
	for _, x := range n.Xattrs {
		xattrs = append(xattrs, x.Name+"="+string(x.Value))
	}
	if want := []string{"security.capability=" + capability, "user.a=1", "user.b=2"}; !slices.Equal(xattrs, want) {
		t.Errorf("extended attributes %q, want %q", xattrs, want)
	}
	for _, c := range []struct{ path, want string }{
		{"dev/null", "c 0666 0:0 1,3"},
		{"dev/sda", "b 0660 0:6 8,0"},
		{"run/fifo", "p 0600 0:0 0,0"},
		{"bin/ping", "- 0755 4000000000:100000 0,0"},
		{"bin", "d 0755 0:0 0,0"}, // not in the archive
	} {
		n := p.Tree.Lookup(c.path)
		if got := fmt.Sprintf("%s %04o %d:%d %d,%d", n.Type, n.Mode, n.UID, n.GID, n.Major, n.Minor); got != c.want || n.ModTime != at.Unix() {
			t.Errorf("%s: got %s, time %d; want %s", c.path, got, n.ModTime, c.want)
		}
	}
	if dpkg, err := exec.LookPath("dpkg-deb"); err == nil {
		out := filepath.Join(t.TempDir(), "x.deb")
		if err := os.WriteFile(out, deb, 0o644); err != nil {
			t.Fatal(err)
		}
		if list, err := exec.Command(dpkg, "-c", out).CombinedOutput(); err != nil || !strings.Contains(string(list), "./bin/ping6 link to ./bin/ping") {
			t.Errorf("dpkg-deb does not take it: %v\n%s", err, list)
		}
	}
}

func reg(name string) file { return file{Header: tar.Header{Name: name, Mode: 0o644}, content: name} }

func TestPackagesAreRefused(t *testing.T) {
	xz := xzed(t, makeTar(t, reg("./x")))
	flipped := func(data []byte, at int) []byte {
		data = bytes.Clone(data)
		data[at] ^= 0x40
		return data
	}
	control := arMember{"control.tar", controlTar(t)}
	binary := arMember{"debian-binary", []byte("2.0\n")}
	data := arMember{"data.tar", makeTar(t)}
	tarOf := func(h tar.Header) []byte { return makeDeb(t, "data.tar", makeTar(t, file{Header: h})) }
	for _, c := range []struct {
		name string
		deb  []byte
		want string
	}{
		{"no archive", []byte("<html>"), "not a Debian package: no ar archive"},
		{"empty", nil, "not a Debian package: no ar archive"},
		{"an archive without members", makeAr(), "it does not start with debian-binary"},
		{"another order", makeAr(control, binary, data), "it does not start with debian-binary"},
		{"format 3", makeAr(arMember{"debian-binary", []byte("3.0\n")}, control, data), `package of format "3."`},
		{"no format", makeAr(arMember{"debian-binary", nil}, control, data), `package of format ""`},
		{"no data", makeAr(binary, control), "control.tar or data.tar is missing"},
		{"data before control", makeAr(binary, data, control), "control.tar or data.tar is missing"},
		{"a member longer than the file", makeAr(binary, control, data)[:600], "does not fit into the archive"},
		{"a member of a negative size", bytes.Replace(makeAr(binary, control, data), []byte("4         `"), []byte("-4        `"), 1), "does not fit into the archive"},
		{"no header where one must be", append(makeAr(binary), make([]byte, 60)...), "no archive header at 72"},
		{"too many members", makeAr(slices.Repeat([]arMember{binary}, 65)...), "more than 64 members"},
		{"compression nobody knows", makeDeb(t, "data.tar.lzma", nil), `compression ".lzma" is not known`},
		{"a control file that is none", makeAr(binary, arMember{"control.tar", makeTar(t, reg("control"))}, data), "no control file that names the package"},
		{"a huge control file", makeAr(binary, arMember{"control.tar", makeTar(t, file{Header: tar.Header{Name: "control"}, content: strings.Repeat("x", 9<<20)})}, data), "more than the limit"},

		{"a path that climbs", makeDeb(t, "data.tar", makeTar(t, reg("./usr/../../etc/passwd"))), "leads out of the package"},
		{"an absolute path", makeDeb(t, "data.tar", makeTar(t, reg("/etc/passwd"))), "leads out of the package"},
		{"a path that is nothing but a step up", tarOf(tar.Header{Name: "..", Typeflag: tar.TypeDir}), "leads out of the package"},
		{"a long path", tarOf(tar.Header{Name: strings.Repeat("a/", 3000), Typeflag: tar.TypeDir}), "of 6000 bytes"},
		{"a link that climbs", tarOf(tar.Header{Name: "x", Typeflag: tar.TypeLink, Linkname: "../x"}), "leads out of the package"},
		{"a link to what is not there", tarOf(tar.Header{Name: "x", Typeflag: tar.TypeLink, Linkname: "y"}), `linking "x" to "y"`},
		{"a symlink to nothing", tarOf(tar.Header{Name: "x", Typeflag: tar.TypeSymlink}), `symlink to ""`},
		{"a symlink too long", tarOf(tar.Header{Name: "x", Typeflag: tar.TypeSymlink, Linkname: strings.Repeat("y", 5000)}), "which is no path"},
		{"the root as a symlink", tarOf(tar.Header{Name: "./", Typeflag: tar.TypeSymlink, Linkname: "/etc"}), `the root must be a directory`},
		{"a file below a file", makeDeb(t, "data.tar", makeTar(t, reg("./x"), reg("./x/y"))), `"x" is not a directory`},
		{"a device out of range", tarOf(tar.Header{Name: "x", Typeflag: tar.TypeChar, Devmajor: 1 << 12}), "out of range"},
		{"an owner out of range", tarOf(tar.Header{Name: "x", Uid: 1 << 33}), "out of range"},
		{"a kind of entry nobody knows", tarOf(tar.Header{Name: "x", Typeflag: tar.TypeCont}), "entries of type '7' are not supported"},
		{"huge extended attributes", tarOf(tar.Header{Name: "x", PAXRecords: map[string]string{"SCHILY.xattr.user.x": strings.Repeat("y", 70_000)}}), "bytes of extended attributes"},

		{"damaged gzip", makeDeb(t, "data.tar.gz", flipped(gzipped(t, makeTar(t, reg("./x"))), 60)), "data.tar.gz of package x"},
		{"gzip cut off", makeDeb(t, "data.tar.gz", gzipped(t, makeTar(t, reg("./x")))[:60]), "data.tar.gz of package x"},
		{"damaged zstd", makeDeb(t, "data.tar.zst", flipped(zstded(t, makeTar(t, reg("./x"))), 30)), "data.tar.zst of package x"},
		{"no xz at all", makeDeb(t, "data.tar.xz", bytes.Repeat([]byte("x"), 100)), "not xz data"},
		{"very short xz", makeDeb(t, "data.tar.xz", []byte("xz")), "xz data of 2 bytes"},
		{"damaged xz", makeDeb(t, "data.tar.xz", flipped(xz, 40)), "data.tar.xz of package x"},
		{"damaged xz index", makeDeb(t, "data.tar.xz", flipped(xz, len(xz)-14)), "damaged xz index or footer"},
		{"damaged xz footer", makeDeb(t, "data.tar.xz", flipped(xz, len(xz)-12)), "damaged xz index or footer"},
		{"xz cut off", makeDeb(t, "data.tar.xz", xz[:len(xz)-20]), "data.tar.xz of package x"},
		{"no end", makeDeb(t, "data.tar", makeTar(t, reg("./x"))[:513]), "unexpected EOF"},
	} {
		t.Run(c.name, func(t *testing.T) {
			st := newStore(t)
			_, err := Open(t.Context(), st, tree.Bytes(c.deb))
			if err == nil || !strings.Contains(err.Error(), c.want) {
				t.Fatalf("got %v, want %s", err, c.want)
			}
			if code := diag.ExitCode(err); code != diag.ExitDependency || strings.Contains(err.Error(), "\n") {
				t.Errorf("exit status %d, %v", code, err)
			}
			left, err := filepath.Glob(filepath.Join(st.Dir(), "tmp", "*"))
			if err != nil || len(left) > 0 {
				t.Errorf("left behind: %q, %v", left, err)
			}
		})
	}
}

// Sparse files hold holes that the archive does not: no content by reference.
func TestSparseFilesAreRefused(t *testing.T) {
	gnuTar := need(t, "tar")
	dir := t.TempDir()
	f, err := os.Create(filepath.Join(dir, "x"))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if _, err := f.WriteAt([]byte("end"), 1<<20); err != nil {
		t.Fatal(err)
	}
	for _, format := range []string{"gnu", "pax"} {
		data, err := exec.Command(gnuTar, "-C", dir, "--format="+format, "-S", "-c", "./x").Output()
		if err != nil {
			t.Fatal(err)
		}
		if len(data) > 1<<20 {
			t.Skip("the file system keeps no holes")
		}
		if _, err := Open(t.Context(), newStore(t), tree.Bytes(makeDeb(t, "data.tar", data))); err == nil || !strings.Contains(err.Error(), "not supported") {
			t.Errorf("%s: got %v", format, err)
		}
	}
}

// A symlink in a package cannot lead what follows out of the tree.
func TestNothingLeavesTheTree(t *testing.T) {
	p, err := Open(t.Context(), newStore(t), tree.Bytes(makeDeb(t, "data.tar", makeTar(t,
		file{Header: tar.Header{Name: "./out", Typeflag: tar.TypeSymlink, Linkname: "../../../.."}},
		file{Header: tar.Header{Name: "./abs", Typeflag: tar.TypeSymlink, Linkname: "/etc"}},
		reg("./out/a"), reg("./abs/b"),
	))))
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"a", "etc/b"} {
		if n := p.Tree.Lookup(name); n == nil || n.Type != tree.File {
			t.Errorf("%s is missing", name)
		}
	}
}

func TestADamagedPackageInTheStoreIsNotRead(t *testing.T) {
	st := newStore(t)
	blob, err := st.Put(bytes.NewReader(makeDeb(t, "data.tar", makeTar(t, reg("./x")))))
	if err != nil {
		t.Fatal(err)
	}
	f, err := os.OpenFile(st.BlobPath(blob.Digest()), os.O_WRONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := f.WriteAt([]byte("y"), blob.Size()-2000); err != nil { // no compression, no check, that would notice
		t.Fatal(err)
	}
	f.Close()
	_, err = Open(t.Context(), st, blob)
	var damaged *tree.DamagedError
	if !errors.As(err, &damaged) || damaged.Digest != blob.Digest() || diag.ExitCode(err) != diag.ExitIO {
		t.Errorf("got %v", err)
	}
}

// The second time nothing is decoded, unless the store lost what the first
// time left.
func TestAPackageIsDecodedOnce(t *testing.T) {
	content := makeDeb(t, "data.tar.gz", gzipped(t, makeTar(t, reg("./usr/bin/x"))))
	all := func(st *store.Store, sub string) string {
		files, err := filepath.Glob(filepath.Join(st.Dir(), sub))
		if err != nil || len(files) != 1 {
			t.Fatalf("%s: %q, %v", sub, files, err)
		}
		return files[0]
	}
	for _, c := range []struct {
		name   string
		damage func(st *store.Store, blob tree.Content) error
		anew   bool
	}{
		{name: "nothing happened"},
		{name: "the package is gone", damage: func(st *store.Store, blob tree.Content) error { return os.Remove(st.BlobPath(blob.Digest())) }},
		{name: "the record is gone", anew: true, damage: func(st *store.Store, _ tree.Content) error { return os.Remove(all(st, "records/deb/*/*")) }},
		{name: "the record is damaged", anew: true, damage: func(st *store.Store, _ tree.Content) error {
			record := all(st, "records/deb/*/*")
			data, err := os.ReadFile(record)
			if err != nil {
				return err
			}
			return os.WriteFile(record, bytes.Replace(data, []byte(`"o":`), []byte(`"q":`), 1), 0o644)
		}},
		{name: "the data is cut off", anew: true, damage: func(st *store.Store, blob tree.Content) error {
			p, err := Open(t.Context(), st, blob)
			if err != nil {
				return err
			}
			_ = p
			files, err := filepath.Glob(filepath.Join(st.Dir(), "blobs/*/*"))
			for _, f := range files {
				if f != st.BlobPath(blob.Digest()) {
					err = os.Truncate(f, 100)
				}
			}
			return err
		}},
	} {
		t.Run(c.name, func(t *testing.T) {
			st := newStore(t)
			blob, err := st.Put(bytes.NewReader(content))
			if err != nil {
				t.Fatal(err)
			}
			if _, err := Open(t.Context(), st, blob); err != nil {
				t.Fatal(err)
			}
			if c.damage != nil {
				if err := c.damage(st, blob); err != nil {
					t.Fatal(err)
				}
			}
			opened := &watched{Content: blob}
			p, err := Open(t.Context(), st, opened)
			if err != nil {
				t.Fatal(err)
			}
			if got := opened.times.Load() > 0; got != c.anew {
				t.Errorf("the package was read again: %v, want %v", got, c.anew)
			}
			if data, err := tree.ReadAll(p.Tree.Lookup("usr/bin/x").Content, 100); err != nil || string(data) != "./usr/bin/x" {
				t.Errorf("got %q, %v", data, err)
			}
		})
	}
}

// watched counts how often a content is opened.
type watched struct {
	tree.Content
	times atomic.Int64
}

func (w *watched) Open() (tree.Reader, error) {
	w.times.Add(1)
	return w.Content.Open()
}

func TestOpenAll(t *testing.T) {
	need(t, "xz")
	const n = 12
	var blobs []tree.Content
	var total int64
	for i := range n {
		data := makeTar(t, file{Header: tar.Header{Name: fmt.Sprintf("./p%d", i), Mode: 0o644}, content: strings.Repeat(fmt.Sprintf("package %d, ", i), 5_000)})
		deb := makeDeb(t, "data.tar.xz", xzed(t, data, "-0", "--block-size=4096"))
		blobs = append(blobs, tree.Bytes(deb))
		total += int64(len(deb))
	}
	var read atomic.Int64
	packages, err := OpenAll(t.Context(), newStore(t), blobs, func(n int64) { read.Add(n) })
	if err != nil {
		t.Fatal(err)
	}
	for i, p := range packages {
		if p.Tree.Lookup(fmt.Sprintf("p%d", i)) == nil {
			t.Errorf("package %d is another", i)
		}
	}
	if read.Load() != total {
		t.Errorf("progress ends at %d of %d", read.Load(), total)
	}

	bad := slices.Concat(blobs, []tree.Content{tree.String("bad")})
	if _, err := OpenAll(t.Context(), newStore(t), bad, nil); err == nil || !strings.Contains(err.Error(), "no ar archive") {
		t.Errorf("one bad package: %v", err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	_, err = OpenAll(ctx, newStore(t), blobs, func(int64) { cancel() })
	if !errors.Is(err, context.Canceled) {
		t.Errorf("interrupted: %v", err)
	}
}

func TestControlFields(t *testing.T) {
	got := parseControl("Package: a\r\n# comment\nDepends:  b,\n\tc\nDescription: short\n long\n .\n longer\nnonsense\n folded nonsense\nEmpty:\n")
	for name, want := range map[string]string{"Package": "a", "Depends": "b,\nc", "Description": "short\nlong\n.\nlonger", "Empty": ""} {
		if v, ok := got[name]; !ok || v != want {
			t.Errorf("%s is %q, want %q", name, v, want)
		}
	}
	if len(got) != 4 {
		t.Errorf("got %q", got)
	}
	if got := parseConffiles("/etc/a\n  /etc//b \n\nremove-on-upgrade /etc/c\nrelative\n/\n"); !slices.Equal(got, []string{"etc/a", "etc/b"}) {
		t.Errorf("conffiles %q", got)
	}
}

func FuzzControl(f *testing.F) {
	f.Add(goodControl)
	f.Add(" a\n:\n \n:b\n")
	f.Fuzz(func(t *testing.T, text string) {
		size := 0
		for name, value := range parseControl(text) {
			size += len(name) + len(value)
		}
		if size > len(text) {
			t.Errorf("%d bytes of fields in %d bytes", size, len(text))
		}
		for _, name := range parseConffiles(text) {
			if path.IsAbs(name) {
				t.Errorf("%q is absolute", name)
			}
		}
	})
}

// Whatever a data archive holds, its tree stays within bounds, and every content
// can be read.
func FuzzData(f *testing.F) {
	f.Add(makeTar(f, reg("./a/b"), file{Header: tar.Header{Name: "./a/c", Typeflag: tar.TypeLink, Linkname: "./a/b"}}))
	f.Add(makeTar(f, file{Header: tar.Header{Name: "./l", Typeflag: tar.TypeSymlink, Linkname: ".."}}, reg("./l/x")))
	f.Add(makeTar(f, file{Header: tar.Header{Name: "x", PAXRecords: map[string]string{"SCHILY.xattr.user.x": "y"}}}))
	f.Add(makeTar(f)[:300])
	dir := f.TempDir()
	f.Fuzz(func(t *testing.T, archive []byte) {
		var copied bytes.Buffer
		entries, size, err := readData(bytes.NewReader(archive), &copied)
		if err != nil {
			return
		}
		if !bytes.Equal(copied.Bytes(), archive) || size != int64(len(archive)) {
			t.Errorf("%d bytes were copied, %d counted, of %d", copied.Len(), size, len(archive))
		}
		file := filepath.Join(dir, "data")
		if err := os.WriteFile(file, archive, 0o600); err != nil {
			t.Fatal(err)
		}
		tr, err := makeTree(entries, file, size)
		if err != nil {
			return
		}
		err = tr.Walk(func(name string, n *tree.Node) error {
			if path.IsAbs(name) || name == ".." || strings.HasPrefix(name, "../") {
				t.Errorf("path %q", name)
			}
			return tree.Copy(io.Discard, n.Content)
		})
		if err != nil {
			t.Error(err)
		}
	})
}

func FuzzAr(f *testing.F) {
	f.Add(makeDeb(f, "data.tar", makeTar(f)))
	f.Add(makeAr(arMember{"debian-binary", []byte("2.0\n")}, arMember{"x", nil}))
	f.Add([]byte(arMagic))
	f.Fuzz(func(t *testing.T, data []byte) {
		members, err := readAr(bytes.NewReader(data), int64(len(data)))
		if err != nil {
			return
		}
		for _, m := range members {
			if m.size < 0 || m.offset < 0 || m.offset+m.size > int64(len(data)) {
				t.Errorf("member %q lies at %d, %d bytes of %d", m.name, m.offset, m.size, len(data))
			}
		}
		parts(bytes.NewReader(data), members)
	})
}
