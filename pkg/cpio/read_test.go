package cpio_test

import (
	"bytes"
	"errors"
	"io"
	"maps"
	"os/exec"
	"strings"
	"testing"

	"github.com/slipway-os/slipway/pkg/cpio"
	"github.com/slipway-os/slipway/pkg/tree"
)

type read struct {
	cpio.Entry
	content string
}

func readAll(t testing.TB, r io.Reader) map[string]read {
	t.Helper()
	all := map[string]read{}
	for c := cpio.NewReader(r); ; {
		e, err := c.Next()
		if errors.Is(err, io.EOF) {
			return all
		}
		if err != nil {
			t.Fatal(err)
		}
		data, err := io.ReadAll(c)
		if err != nil {
			t.Fatal(err)
		}
		all[e.Path] = read{e, string(data)}
	}
}

func TestReadBackWhatWasWritten(t *testing.T) {
	want := sample(t)
	r := bytes.NewReader(append(archive(t, want), "behind the archive"...))
	got := readAll(t, r)
	if rest, _ := io.ReadAll(r); string(rest) != "behind the archive" {
		t.Errorf("behind the archive %q is left", rest)
	}
	var aligned bytes.Buffer
	if err := cpio.WriteAligned(&aligned, want, 64); err != nil {
		t.Fatal(err)
	}
	if same := readAll(t, bytes.NewReader(aligned.Bytes())); !maps.Equal(same, got) {
		t.Errorf("aligned, it has other entries: %v", same)
	}
	if at := bytes.Index(aligned.Bytes(), []byte("#!")); at%64 != 0 {
		t.Errorf("a file's content lies at %d", at)
	}
	linked := 0
	err := want.Walk(func(p string, n *tree.Node) error {
		if p == "." {
			return nil
		}
		g, ok := got[p]
		if !ok || g.Type != n.Type {
			t.Errorf("%s is %+v, of type %v", p, g.Entry, n.Type)
		}
		content := n.Target
		if n.Content != nil {
			data, err := tree.ReadAll(n.Content, 1<<20)
			if err != nil {
				return err
			}
			content = string(data)
		}
		if strings.HasPrefix(p, "link/") {
			linked += len(g.content) // one of them holds it
			return nil
		}
		if g.content != content || g.Size != int64(len(content)) {
			t.Errorf("%s has %d bytes, %d read, want %d", p, g.Size, len(g.content), len(content))
		}
		return nil
	})
	if err != nil || linked != len("linked") || len(got) != want.Len()-1 {
		t.Errorf("%v; hard links of %d bytes, %d entries", err, linked, len(got))
	}
}

func TestReadWhatCpioWrote(t *testing.T) {
	cmd := exec.Command(judge(t), "--quiet", "-o", "-H", "newc")
	cmd.Dir = t.TempDir()
	if out, err := exec.Command("sh", "-c", "cd "+cmd.Dir+" && mkdir -p a/b && printf content > a/b/c && ln -s c a/b/d").CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	cmd.Stdin = strings.NewReader("./a\na/b\na/b/c\na/b/d\n")
	out, err := cmd.Output()
	if err != nil {
		t.Fatal(err)
	}
	got := readAll(t, bytes.NewReader(out))
	for p, want := range map[string]read{
		"a":     {cpio.Entry{Type: tree.Dir}, ""},
		"a/b":   {cpio.Entry{Type: tree.Dir}, ""},
		"a/b/c": {cpio.Entry{Type: tree.File, Size: 7}, "content"},
		"a/b/d": {cpio.Entry{Type: tree.Symlink, Size: 1}, "c"},
	} {
		want.Path = p
		if got[p] != want {
			t.Errorf("%s is %+v, want %+v", p, got[p], want)
		}
	}
}

func TestDamagedArchives(t *testing.T) {
	good := archive(t, sample(t))
	for name, data := range map[string][]byte{
		"cut off":               good[:len(good)/2],
		"nothing":               {},
		"another format":        []byte(strings.Repeat("x", 200)),
		"a number that is none": append([]byte("070701XXXXXXXX"), good[14:]...),
		"a name too long":       append(append(bytes.Clone(good[:94]), "FFFFFFFF"...), good[102:]...),
	} {
		c := cpio.NewReader(bytes.NewReader(data))
		var err error
		for err == nil {
			_, err = c.Next()
		}
		if errors.Is(err, io.EOF) {
			t.Errorf("%s: read to its end", name)
		}
	}
}

func FuzzReader(f *testing.F) {
	b := tree.NewBuilder(0)
	if err := b.Put("a/b", &tree.Node{Type: tree.File, Content: tree.String("content")}); err != nil {
		f.Fatal(err)
	}
	var good bytes.Buffer
	if err := cpio.Write(&good, b.Tree()); err != nil {
		f.Fatal(err)
	}
	f.Add(good.Bytes())
	var aligned bytes.Buffer
	if err := cpio.WriteAligned(&aligned, b.Tree(), 64); err != nil {
		f.Fatal(err)
	}
	f.Add(aligned.Bytes())
	f.Fuzz(func(t *testing.T, data []byte) {
		c := cpio.NewReader(bytes.NewReader(data))
		for {
			e, err := c.Next()
			if err != nil {
				return
			}
			if e.Path == "" || strings.HasPrefix(e.Path, "/") || e.Path == ".." || strings.HasPrefix(e.Path, "../") {
				t.Errorf("a path %q", e.Path)
			}
			io.Copy(io.Discard, c)
		}
	})
}
