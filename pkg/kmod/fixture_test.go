package kmod

import (
	"bytes"
	"debug/elf"
	"encoding/binary"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/klauspost/compress/zstd"

	"github.com/slipway-os/slipway/pkg/tree"
)

const testRelease = "6.1.0-test"

// ko describes a module to make for a test.
type ko struct {
	order    binary.ByteOrder
	info     []string
	exports  []string // as symbols with a CRC
	strings  []string // as __ksymtab_strings
	needs    []string
	versions []string
}

// bytes returns the module as an ELF file, with the sections that depmod reads.
func (k ko) bytes() []byte {
	if k.order == nil {
		k.order = binary.LittleEndian
	}
	joined := func(list []string) []byte { return []byte(strings.Join(append(list, ""), "\x00")) }
	var versions, table bytes.Buffer
	for _, name := range k.versions {
		entry := make([]byte, versionSize)
		k.order.PutUint64(entry, 0x12345678)
		copy(entry[versionName:], name)
		versions.Write(entry)
	}
	names := []byte{0}
	symbol := func(name string, section elf.SectionIndex) {
		binary.Write(&table, k.order, elf.Sym64{Name: uint32(len(names)), Info: 0x10, Shndx: uint16(section), Value: 7})
		names = append(append(names, name...), 0)
	}
	table.Write(make([]byte, symSize))
	for _, name := range k.exports {
		symbol(name, 1)
		symbol("__crc_"+name, elf.SHN_ABS)
	}
	for _, name := range k.needs {
		symbol(name, elf.SHN_UNDEF)
	}
	sections := []struct {
		name string
		kind elf.SectionType
		data []byte
	}{
		{"", elf.SHT_NULL, nil},
		{".modinfo", elf.SHT_PROGBITS, append([]byte{0, 0}, joined(k.info)...)},
		{"__ksymtab_strings", elf.SHT_PROGBITS, joined(k.strings)},
		{"__versions", elf.SHT_PROGBITS, versions.Bytes()},
		{".symtab", elf.SHT_SYMTAB, table.Bytes()},
		{".strtab", elf.SHT_STRTAB, names},
		{".shstrtab", elf.SHT_STRTAB, nil},
	}
	var body, headers bytes.Buffer
	var sectionNames []byte
	for i, s := range sections {
		nameAt := len(sectionNames)
		sectionNames = append(append(sectionNames, s.name...), 0)
		if i == len(sections)-1 {
			s.data = sectionNames
		}
		h := elf.Section64{Name: uint32(nameAt), Type: uint32(s.kind), Off: uint64(ehdrSize + body.Len()), Size: uint64(len(s.data))}
		switch s.kind {
		case elf.SHT_SYMTAB:
			h.Link, h.Info, h.Entsize = 5, 1, symSize
		}
		binary.Write(&headers, k.order, h)
		body.Write(s.data)
	}
	header := elf.Header64{
		Type: uint16(elf.ET_REL), Machine: uint16(elf.EM_X86_64), Version: 1, Shoff: uint64(ehdrSize + body.Len()),
		Ehsize: ehdrSize, Shentsize: shdrSize, Shnum: uint16(len(sections)), Shstrndx: uint16(len(sections) - 1),
	}
	copy(header.Ident[:], elf.ELFMAG)
	header.Ident[elf.EI_CLASS], header.Ident[elf.EI_VERSION] = byte(elf.ELFCLASS64), 1
	header.Ident[elf.EI_DATA] = byte(elf.ELFDATA2LSB)
	if k.order == binary.BigEndian {
		header.Ident[elf.EI_DATA] = byte(elf.ELFDATA2MSB)
		header.Machine = uint16(elf.EM_S390)
	}
	var out bytes.Buffer
	binary.Write(&out, k.order, header)
	out.Write(body.Bytes())
	out.Write(headers.Bytes())
	return out.Bytes()
}

// judge returns the path of a program that tests compare with.
func judge(t *testing.T, name string) string {
	t.Helper()
	for _, dir := range []string{"", "/usr/sbin/", "/sbin/"} {
		if p, err := exec.LookPath(dir + name); err == nil {
			return p
		}
	}
	t.Skipf("%s is not here", name)
	return ""
}

func run(t *testing.T, program string, args ...string) string {
	t.Helper()
	out, err := exec.Command(judge(t, program), args...).CombinedOutput()
	if err != nil {
		t.Fatalf("%s %q: %v\n%s", program, args, err, out)
	}
	return string(out)
}

// install writes files below a new root's usr/lib/modules/<testRelease>, to
// which lib leads. What a module's suffix says is done.
func install(t *testing.T, files map[string][]byte) (root string) {
	t.Helper()
	root = t.TempDir()
	dir := filepath.Join(root, "usr/lib/modules", testRelease)
	if err := os.MkdirAll(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink("usr/lib", filepath.Join(root, "lib")); err != nil {
		t.Fatal(err)
	}
	for name, data := range files {
		file := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
			t.Fatal(err)
		}
		switch suffix(name) {
		case ".ko.xz":
			file = strings.TrimSuffix(file, ".xz")
		case ".ko.zst":
			w, err := zstd.NewWriter(nil)
			if err != nil {
				t.Fatal(err)
			}
			data = w.EncodeAll(data, nil)
		}
		if err := os.WriteFile(file, data, 0o644); err != nil {
			t.Fatal(err)
		}
		if suffix(name) == ".ko.xz" {
			run(t, "xz", "--check=crc32", "--lzma2=dict=1MiB", file)
		}
	}
	return root
}

func readRoot(t *testing.T, root string, memo Memo) *Set {
	t.Helper()
	tr, err := tree.FromDir(root, 1700000000)
	if err != nil {
		t.Fatal(err)
	}
	s, err := Read(t.Context(), tr, testRelease, memo)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// extract writes a tree's files into a new root.
func extract(t *testing.T, tr *tree.Tree) (root string) {
	t.Helper()
	root = t.TempDir()
	if err := os.Symlink("usr/lib", filepath.Join(root, "lib")); err != nil {
		t.Fatal(err)
	}
	err := tr.Walk(func(p string, n *tree.Node) error {
		file := filepath.Join(root, p)
		if n.Type == tree.Dir {
			return os.MkdirAll(file, 0o755)
		}
		data, err := tree.ReadAll(n.Content, maxModule)
		if err != nil {
			return err
		}
		return os.WriteFile(file, data, 0o644)
	})
	if err != nil {
		t.Fatal(err)
	}
	return root
}

// sample is a small kernel in which everything comes up that the indexes tell
// apart.
func sample(order binary.ByteOrder) map[string][]byte {
	mod := func(name string, k ko) []byte {
		k.order = order
		k.info = append(k.info, "license=GPL", "name="+name, "vermagic="+testRelease+" SMP")
		return k.bytes()
	}
	return map[string][]byte{
		"kernel/fs/ext4/ext4.ko.xz": mod("ext4", ko{
			info:  []string{"alias=fs-ext4", "alias=ext3", "softdep=pre: crc32c", "depends=jbd2,mbcache"},
			needs: []string{"printk", "jbd2_start", "mb_cache_create", "jbd2_start"}, versions: []string{"module_layout", "printk"},
		}),
		"kernel/fs/jbd2/jbd2.ko.xz":    mod("jbd2", ko{exports: []string{"jbd2_start", "jbd2_stop"}, needs: []string{"printk"}}),
		"kernel/fs/mbcache.ko.zst":     mod("mbcache", ko{strings: []string{"mb_cache_create", "", "A_NAME_SPACE"}}),
		"kernel/fs/fuse/fuse.ko":       mod("fuse", ko{info: []string{"alias=devname:fuse", "alias=char-major-10-229", "alias=fs-fuse"}}),
		"kernel/drivers/block/loop.ko": mod("loop", ko{info: []string{"alias=block-major-7-*", "alias=char-major-10-237", "alias=devname:loop-control", "alias=block-major-7-1"}}),
		"kernel/drivers/half.ko":       mod("half", ko{info: []string{"alias=devname:half", "alias=char-major-10-*"}}),
		"kernel/crypto/crc32c_generic.ko": mod("crc32c_generic", ko{info: []string{
			"alias=crc32c", "alias=crypto-crc32c", "alias=crypto-crc32c-generic"}}),
		"kernel/crypto/crc32c-intel.ko": mod("crc32c_intel", ko{info: []string{
			"alias=crc32c", "alias=crypto-crc32c", "alias=cpu:type:x86,ven*fam*mod*:feature:*0094*", "softdep=post: crc32c-generic  pre: x"}}),
		"kernel/net/a-b.ko":        mod("a_b", ko{info: []string{"alias=net-pf-16-proto-[0-9]-x", "alias=bad]", "alias=bad["}, versions: []string{"b_function"}}),
		"kernel/net/b.ko":          mod("b", ko{exports: []string{"b_function", "jbd2_stop"}}),
		"kernel/net/dot.x.ko":      mod("dot", ko{needs: []string{".b_function"}}),
		"kernel/net/soft.ko":       mod("soft", ko{info: []string{"softdep=pre: nothing fs-ext4 post: loop"}}),
		"kernel/sound/snd.ko":      mod("snd", ko{strings: []string{"snd_card"}}),
		"kernel/sound/hda/hda.ko":  mod("hda", ko{needs: []string{"snd_card"}}),
		"kernel/drivers/gpu/g.ko":  mod("g", ko{needs: []string{"snd_card"}}),
		"updates/fuse.ko":          mod("fuse", ko{info: []string{"alias=fs-fuse-updated"}}),
		"build/not.ko":             mod("not", ko{}),
		"modules.order":            []byte("kernel/fs/mbcache.ko\nkernel/fs/jbd2/jbd2.ko\nkernel/gone.ko\nkernel/net/a-b.ko\nkernel/fs/ext4/ext4.ko\nkernel/crypto/crc32c-intel.ko\n"),
		"modules.builtin":          []byte("kernel/fs/proc-fs.ko\nkernel/drivers/tty/tty.ko\n1bad\nkernel/mm/x.ko\n"),
		"modules.builtin.modinfo":  []byte("proc_fs.license=GPL\x00proc_fs.alias=fs-proc\x00tty.alias=char-major-4-*\x00tty.parm=a.b=c\x00x.alias=bad]\x00"),
		"kernel/net/ignored.ko.gz": []byte("no module"),
	}
}
