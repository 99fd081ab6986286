package kmod

import (
	"bytes"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/slipway-os/slipway/pkg/store"
	"github.com/slipway-os/slipway/pkg/tree"
)

var indexNames = []string{
	"modules.dep", "modules.dep.bin", "modules.alias", "modules.alias.bin", "modules.symbols", "modules.symbols.bin",
	"modules.softdep", "modules.builtin.bin", "modules.builtin.alias.bin", "modules.devname",
}

// compare runs depmod below root and compares what it writes with s.Index.
func compare(t *testing.T, root string, s *Set) {
	t.Helper()
	got, err := s.Index()
	if err != nil {
		t.Fatal(err)
	}
	if len(got) != len(indexNames) {
		t.Errorf("%d files", len(got))
	}
	run(t, "depmod", "-b", root, s.Release())
	for _, name := range indexNames {
		want, err := os.ReadFile(filepath.Join(root, "lib/modules", s.Release(), name))
		if err != nil {
			t.Fatal(err)
		}
		if !bytes.Equal(got[name], want) {
			t.Errorf("%s is not what depmod writes (%d and %d bytes):\n%.400q\n%.400q", name, len(got[name]), len(want), got[name], want)
		}
	}
}

func TestIndex(t *testing.T) {
	for name, order := range map[string]binary.ByteOrder{"little": binary.LittleEndian, "big": binary.BigEndian} {
		t.Run(name, func(t *testing.T) {
			root := install(t, sample(order))
			compare(t, root, readRoot(t, root, nil))
		})
	}
	t.Run("bare", func(t *testing.T) {
		files := sample(nil)
		for _, name := range []string{fileOrder, fileBuiltin, fileBuiltinInfo} {
			delete(files, name)
		}
		root := install(t, files)
		compare(t, root, readRoot(t, root, nil))
	})
	t.Run("damaged order", func(t *testing.T) {
		files := sample(nil)
		files[fileOrder] = bytes.TrimSpace(files[fileOrder])
		root := install(t, files)
		compare(t, root, readRoot(t, root, nil))
	})
	t.Run("empty", func(t *testing.T) {
		root := install(t, map[string][]byte{fileBuiltin: {}, fileBuiltinInfo: {}})
		compare(t, root, readRoot(t, root, nil))
	})
}

// Many modules with random names, dependencies and aliases: the order of hash
// tables, ranks and tries.
func TestIndexRandom(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	word := func() string {
		b := make([]byte, 1+r.IntN(9))
		for i := range b {
			b[i] = "abcdeXYZ_-019"[r.IntN(13)]
		}
		return string(b)
	}
	files := make(map[string][]byte)
	var exported, order []string
	for i := range 300 {
		k := ko{info: []string{"alias=x:" + word(), "alias=x:" + word() + "*", "alias=" + word() + "[a-z]" + word()}}
		for range r.IntN(4) {
			if len(exported) > 0 {
				k.needs = append(k.needs, exported[r.IntN(len(exported))])
			}
		}
		for range r.IntN(4) {
			k.exports = append(k.exports, fmt.Sprintf("s%s_%d", word(), i))
		}
		exported = append(exported, k.exports...)
		p := fmt.Sprintf("kernel/%d/m%s%d.ko", r.IntN(5), word(), i)
		files[p] = k.bytes()
		if r.IntN(3) > 0 {
			order = append(order, p)
		}
	}
	files[fileOrder] = []byte(strings.Join(append(order, ""), "\n"))
	root := install(t, files)
	s := readRoot(t, root, nil)
	compare(t, root, s)
	pruned, err := s.Prune([]string{"1", "2/m[a-c]*"})
	if err != nil {
		t.Fatal(err)
	}
	tr, err := pruned.Tree()
	if err != nil {
		t.Fatal(err)
	}
	compare(t, extract(t, tr), pruned)
}

func names(s *Set) string {
	var list []string
	for _, m := range s.Modules() {
		list = append(list, m.Name)
	}
	slices.Sort(list)
	return strings.Join(list, " ")
}

func TestModules(t *testing.T) {
	s := readRoot(t, install(t, sample(nil)), nil)
	var got Module
	for _, m := range s.Modules() {
		if m.Name == "ext4" {
			got = m
		}
	}
	want := Module{Name: "ext4", Path: "kernel/fs/ext4/ext4.ko.xz", Size: got.Size, Depends: []string{"jbd2", "mbcache"},
		Aliases: []string{"fs-ext4", "ext3"}, SoftPre: []string{"crc32c"}}
	if fmt.Sprint(got.Name, got.Path, got.Depends, got.Aliases, got.SoftPre, got.SoftPost) !=
		fmt.Sprint(want.Name, want.Path, want.Depends, want.Aliases, want.SoftPre, want.SoftPost) || got.Size < 500 {
		t.Errorf("%+v", got)
	}
}

// The firmware that modules ask for is what modinfo lists, however they are compressed.
func TestFirmware(t *testing.T) {
	files := map[string][]byte{}
	for name, info := range map[string][]string{
		"kernel/net/none.ko":    {"alias=x"},
		"kernel/net/plain.ko":   {"firmware=a/b.fw", "firmware=c-*.bin", "license=GPL", "firmware=a/b.fw"},
		"kernel/net/xz.ko.xz":   {"firmware=with space=and equals"},
		"kernel/net/zst.ko.zst": {"firmware="},
	} {
		files[name] = ko{info: info}.bytes()
	}
	root := install(t, files)
	for _, m := range readRoot(t, root, nil).Modules() {
		compareFirmware(t, root, m)
	}
}

func compareFirmware(t *testing.T, root string, m Module) {
	t.Helper()
	dirs, err := filepath.Glob(filepath.Join(root, "usr/lib/modules/*"))
	if err != nil || len(dirs) != 1 {
		t.Fatal(dirs, err)
	}
	var got strings.Builder
	for _, f := range m.Firmware {
		got.WriteString(f + "\n")
	}
	if want := run(t, "modinfo", "-F", "firmware", filepath.Join(dirs[0], m.Path)); got.String() != want {
		t.Errorf("%s: %q, not %q", m.Path, got.String(), want)
	}
}

func TestPrune(t *testing.T) {
	s := readRoot(t, install(t, sample(nil)), nil)
	all := names(s)
	for _, c := range []struct{ globs, dropped string }{
		{"", ""},
		{"sound", "hda"}, // g needs snd
		{"sound drivers/*", "g half hda loop snd"},
		{"sound/hda drivers/gpu/", "g hda"},
		{"fs/*/ext?.ko crypto/*-intel.ko", "crc32c_intel ext4"},
		{"fs", "ext4 jbd2 mbcache"}, // fuse is below updates
		{"nothing/at/all updates", ""},
	} {
		p, err := s.Prune(strings.Fields(c.globs))
		if err != nil {
			t.Fatal(err)
		}
		var dropped []string
		for name := range strings.FieldsSeq(all) {
			if !slices.Contains(strings.Fields(names(p)), name) {
				dropped = append(dropped, name)
			}
		}
		if got := strings.Join(dropped, " "); got != c.dropped {
			t.Errorf("%q dropped %q, not %q", c.globs, got, c.dropped)
		}
	}
	for _, bad := range []string{"[", "a//b", ""} {
		if _, err := s.Prune([]string{bad}); err == nil {
			t.Errorf("%q taken", bad)
		}
	}
}

func TestClosure(t *testing.T) {
	s := readRoot(t, install(t, sample(nil)), nil)
	for _, c := range []struct{ asked, want string }{
		{"", ""},
		{"nothing tty", ""},
		{"a-b", "a_b b"},
		{"jbd2", "jbd2"},
		{"crc32c-intel", "crc32c_generic crc32c_intel"},
		{"ext4", "crc32c_generic crc32c_intel ext4 jbd2 mbcache"},
		{"soft", "crc32c_generic crc32c_intel ext4 jbd2 loop mbcache soft"},
		{"net-pf-16-proto-7-x", "a_b b"}, // dashes beside brackets are underscores
		{"net-pf-16-proto-5_x fs-fuse-updated", "a_b b fuse"},
	} {
		got := names(s.Closure(strings.Fields(c.asked)))
		if got != c.want {
			t.Errorf("%q gave %q, not %q", c.asked, got, c.want)
		}
	}
}

func TestMissing(t *testing.T) {
	s := readRoot(t, install(t, sample(nil)), nil)
	pruned, err := s.Prune([]string{"sound", "drivers", "fs"})
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct{ asked, all, pruned string }{
		{"", "", ""},
		{"ext4 loop crc32c-intel", "", "ext4 loop"},
		{"proc_fs proc-fs", "", ""}, // built in
		{"nvme ext4", "nvme", "nvme ext4"},
	} {
		for name, of := range map[string]struct {
			set  *Set
			want string
		}{"all": {s, c.all}, "pruned": {pruned, c.pruned}} {
			missing, err := of.set.Missing(strings.Fields(c.asked))
			if got := strings.Join(missing, " "); err != nil || got != of.want {
				t.Errorf("%q of %s: %q, %v; want %q", c.asked, name, got, err, of.want)
			}
		}
	}
}

// What modprobe finds in the indexes of a tree.
func TestLookup(t *testing.T) {
	tr, err := readRoot(t, install(t, sample(nil)), nil).Tree()
	if err != nil {
		t.Fatal(err)
	}
	root := extract(t, tr)
	for name, want := range map[string]string{
		"ext4": "crc32c_generic.ko crc32c-intel.ko jbd2.ko.xz mbcache.ko.zst ext4.ko.xz", "a-b": "b.ko a-b.ko", "symbol:snd_card": "snd.ko",
		"fs-fuse-updated": "fuse.ko", "char-major-10-237": "loop.ko", "proc-fs": "builtin proc_fs", "fs-proc": "builtin proc_fs",
	} {
		out := run(t, "modprobe", "-d", root, "-S", testRelease, "--show-depends", name)
		for file := range strings.FieldsSeq(want) {
			if !strings.Contains(out, "/"+file+" ") && !strings.Contains(out, file) {
				t.Errorf("%s: no %s in %q", name, file, out)
			}
		}
	}
	out := run(t, "modinfo", "-b", root, "-k", testRelease, "-F", "alias", "crc32c-intel")
	if !strings.HasPrefix(out, "crc32c\ncrypto-crc32c\n") {
		t.Errorf("modinfo: %q", out)
	}
}

func TestUncompressed(t *testing.T) {
	st, err := store.Open(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	root := install(t, sample(nil))
	s := readRoot(t, root, st).Closure([]string{"ext4"})
	var first string
	for range 2 {
		tr, err := s.Uncompressed(t.Context(), st)
		if err != nil {
			t.Fatal(err)
		}
		var list []string
		err = tr.Walk(func(p string, n *tree.Node) error {
			if n.Type == tree.File {
				list = append(list, filepath.Base(p)+" "+n.Digest().String())
			}
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
		got := strings.Join(list, "\n")
		if len(list) != 8 || first != "" && got != first {
			t.Errorf("%s", got)
		}
		first = got
		out := extract(t, tr)
		dep, err := os.ReadFile(filepath.Join(out, "lib/modules", testRelease, "modules.dep"))
		if err != nil {
			t.Fatal(err)
		}
		if want := "kernel/fs/ext4/ext4.ko: kernel/fs/mbcache.ko kernel/fs/jbd2/jbd2.ko\n"; !strings.Contains(string(dep), want) {
			t.Errorf("%s", dep)
		}
		file := filepath.Join(out, "lib/modules", testRelease, "kernel/fs/ext4/ext4.ko")
		if got := run(t, "modinfo", "-F", "alias", file); got != "fs-ext4\next3\n" {
			t.Errorf("modinfo: %q", got)
		}
	}
}

type memory map[string][]byte

func (m memory) Load(kind, key string, v any) error {
	data, ok := m[kind+key]
	if !ok {
		return store.ErrMissing
	}
	return json.Unmarshal(data, v)
}

func (m memory) Save(kind, key string, v any) (err error) {
	m[kind+key], err = json.Marshal(v)
	return err
}

type closed struct{ tree.Content }

func (closed) Open() (tree.Reader, error) { return nil, errors.New("opened") }

func TestMemo(t *testing.T) {
	root := install(t, sample(nil))
	memo := memory{}
	first := readRoot(t, root, memo)
	tr, err := tree.FromDir(root, 1)
	if err != nil {
		t.Fatal(err)
	}
	b := tree.NewBuilder(1)
	err = tr.Walk(func(p string, n *tree.Node) error {
		if suffix(p) != "" {
			c := *n
			c.Content = closed{n.Content}
			n = &c
		}
		return b.Put(p, n)
	})
	if err != nil {
		t.Fatal(err)
	}
	second, err := Read(t.Context(), b.Tree(), testRelease, memo)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := Read(t.Context(), b.Tree(), testRelease, nil); err == nil {
		t.Error("read what cannot be opened")
	}
	compare(t, root, second)
	if len(memo) != 1 || names(first) != names(second) {
		t.Errorf("%d records", len(memo))
	}
}

func TestCircle(t *testing.T) {
	root := install(t, map[string][]byte{
		"kernel/a.ko": ko{exports: []string{"a"}, needs: []string{"c"}}.bytes(),
		"kernel/b.ko": ko{exports: []string{"b"}, needs: []string{"a"}}.bytes(),
		"kernel/c.ko": ko{exports: []string{"c"}, needs: []string{"b"}}.bytes(),
		"kernel/d.ko": ko{exports: []string{"d"}, needs: []string{"a"}}.bytes(),
		"kernel/e.ko": ko{}.bytes(),
	})
	s := readRoot(t, root, nil)
	if _, err := s.Index(); err == nil || !strings.Contains(err.Error(), " -> ") {
		t.Errorf("error %v", err)
	}
	if got := names(s.Closure([]string{"d"})); got != "a b c d" {
		t.Errorf("closure %q", got)
	}
	if exec.Command(judge(t, "depmod"), "-b", root, testRelease).Run() == nil {
		t.Error("depmod takes it")
	}
}
