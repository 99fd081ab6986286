// Package rootfs composes the root file system of a node from unpacked
// packages. Their maintainer scripts never run: what these would do is done
// here, or lies as data in overlays/.
package rootfs

import (
	"fmt"
	"path"
	"regexp"
	"strings"

	"github.com/slipway-os/slipway/pkg/deb"
	"github.com/slipway-os/slipway/pkg/diag"
	"github.com/slipway-os/slipway/pkg/tree"
)

// Sources are what a root is composed of, in the order in which one is laid
// over the other.
type Sources struct {
	Packages []*deb.Package
	Prune    []string              // path globs of what is left out of the packages; a directory takes all in it
	Trim     func(b *tree.Builder) // drops more of the packages, once they are unpacked; may be nil
	Overlays []*tree.Tree
	Trees    []*tree.Tree      // components, modules, images: laid over last
	Settings map[string]string // stand for ${name} in templates
	Epoch    int64             // no time in the root is later
}

// templates are the files in which ${name} is replaced.
func templates() []string { return []string{"usr/lib/slipway/containerd.toml"} }

// setting matches where a template names one.
var setting = regexp.MustCompile(`\$\{[^}\n]*\}?`)

// Compose returns the root.
func Compose(s Sources) (*tree.Tree, error) {
	b := tree.NewBuilder(s.Epoch)
	if err := Unpack(b, s.Packages, s.Prune, true, s.Epoch); err != nil {
		return nil, err
	}
	if s.Trim != nil {
		s.Trim(b)
	}
	if err := baseFiles(b, s.Epoch); err != nil {
		return nil, err
	}
	for _, o := range s.Overlays {
		if err := lay(b, o); err != nil {
			return nil, diag.Input(fmt.Errorf("laying an overlay over the root: %w", err))
		}
	}
	for _, t := range s.Trees {
		if err := lay(b, t); err != nil {
			return nil, err
		}
	}
	if err := accounts(b, s.Epoch); err != nil {
		return nil, fmt.Errorf("making accounts: %w", err)
	}
	for _, p := range templates() {
		if err := expand(b, p, s.Settings); err != nil {
			return nil, fmt.Errorf("filling in %q: %w", p, err)
		}
	}
	b.ClampTimes(s.Epoch)
	return b.Tree(), nil
}

// Unpack lays packages over one another, joins their certificates if asked to,
// and drops what is not wanted of them. base-files comes first: it has the
// symlinks (lib to usr/lib) that the others' paths lead through.
func Unpack(b *tree.Builder, packages []*deb.Package, without []string, bundle bool, epoch int64) error {
	first := func(p *deb.Package) bool { return p.Control["Package"] == "base-files" }
	for _, wanted := range []bool{true, false} {
		for _, p := range packages {
			if first(p) != wanted {
				continue
			}
			if err := lay(b, p.Tree); err != nil {
				return fmt.Errorf("unpacking package %s: %w", p.Control["Package"], err)
			}
		}
	}
	if bundle {
		if err := certificates(b, epoch); err != nil {
			return err
		}
	}
	return prune(b, without)
}

// lay lays t over what is there. A directory that is there stays as it is, as
// with dpkg; of an overlay's directories nobody knows the modes that were meant.
func lay(b *tree.Builder, t *tree.Tree) error {
	return t.Walk(func(p string, n *tree.Node) error {
		if old := b.Lookup(p); old != nil && n.Type == tree.Dir {
			switch old.Type {
			case tree.Dir:
				return nil
			case tree.Symlink:
			default:
				return fmt.Errorf("placing directory %q: something else is in its place", p)
			}
		}
		return b.Put(p, n)
	})
}

func prune(b *tree.Builder, globs []string) error {
	patterns := make([]string, len(globs))
	for i, g := range globs {
		var err error
		if patterns[i], err = Glob(g); err != nil {
			return diag.Inputf("pruning %q: %w", g, err)
		}
	}
	b.RemoveFunc(func(p string, _ *tree.Node) bool {
		for _, pattern := range patterns {
			if ok, _ := path.Match(pattern, p); ok {
				return true
			}
		}
		return false
	})
	return nil
}

// Glob turns a glob of glob(7) into a pattern of path.Match, which has another
// sign for "none of these": [^a] in place of [!a].
func Glob(glob string) (pattern string, err error) {
	var b strings.Builder
	for i := 0; i < len(glob); i++ {
		b.WriteByte(glob[i])
		switch {
		case glob[i] == '\\' && i+1 < len(glob):
			i++
			b.WriteByte(glob[i])
		case glob[i] == '[' && i+1 < len(glob) && glob[i+1] == '!':
			i++
			b.WriteByte('^')
		}
	}
	pattern = b.String()
	_, err = path.Match(pattern, "")
	return pattern, err
}

// file puts a root-owned file.
func file(b *tree.Builder, p, content string, mode uint32, epoch int64) error {
	return b.Put(p, &tree.Node{Type: tree.File, Mode: mode, ModTime: epoch, Content: tree.String(content)})
}

func link(b *tree.Builder, p, target string, epoch int64) error {
	b.Remove(p)
	return b.Put(p, &tree.Node{Type: tree.Symlink, Mode: 0o777, ModTime: epoch, Target: target})
}

// baseFiles makes the directories and files that the scripts of base-files
// and openssh-server would.
func baseFiles(b *tree.Builder, epoch int64) error {
	for _, d := range []struct {
		path string
		mode uint32
	}{
		{"boot", 0o755}, {"dev", 0o755}, {"home", 0o755}, {"media", 0o755}, {"mnt", 0o755}, {"opt", 0o755},
		{"proc", 0o555}, {"root", 0o700}, {"run", 0o755}, {"srv", 0o755}, {"sys", 0o555}, {"tmp", 0o1777}, {"usr/local", 0o755},
		{"var", 0o755}, {"etc/opt", 0o755}, {"etc/cni/net.d", 0o755}, {"etc/kubernetes", 0o755},
		// The kubelet's default for FlexVolumes, which it would otherwise try
		// to make below a read-only /usr.
		{"usr/libexec/kubernetes/kubelet-plugins/volume/exec", 0o755},
	} {
		if err := b.Put(d.path, &tree.Node{Type: tree.Dir, Mode: d.mode, ModTime: epoch}); err != nil {
			return err
		}
	}
	for _, l := range [][2]string{{"var/run", "/run"}, {"var/lock", "/run/lock"}} {
		if err := link(b, l[0], l[1], epoch); err != nil {
			return err
		}
	}
	// A random id is written at first boot. "uninitialized" would make systemd
	// preset every unit.
	if err := file(b, "etc/machine-id", "", 0o444, epoch); err != nil {
		return err
	}
	for _, c := range [][2]string{
		{"usr/share/base-files/profile", "etc/profile"},
		{"usr/share/openssh/sshd_config", "etc/ssh/sshd_config"},
	} {
		n := b.Lookup(c[0])
		if n == nil {
			continue
		}
		copied := *n
		if err := b.Put(c[1], &copied); err != nil {
			return err
		}
	}
	return nil
}

// certificates joins the certificates of ca-certificates, as
// update-ca-certificates would.
func certificates(b *tree.Builder, epoch int64) error {
	var bundle strings.Builder
	for _, p := range b.Paths() {
		if dir, name := path.Split(p); dir != "usr/share/ca-certificates/mozilla/" || !strings.HasSuffix(name, ".crt") {
			continue
		}
		data, err := tree.ReadAll(b.Lookup(p).Content, 1<<20)
		if err != nil {
			return fmt.Errorf("reading certificate %q: %w", p, err)
		}
		bundle.WriteString(strings.TrimRight(string(data), "\n") + "\n")
	}
	if bundle.Len() == 0 {
		return nil
	}
	return file(b, "etc/ssl/certs/ca-certificates.crt", bundle.String(), 0o644, epoch)
}

// expand replaces ${name} in a file.
func expand(b *tree.Builder, p string, settings map[string]string) error {
	n := b.Lookup(p)
	if n == nil {
		return nil
	}
	data, err := tree.ReadAll(n.Content, 1<<20)
	if err != nil {
		return err
	}
	text := string(data)
	var unknown error
	filled := *n
	filled.Content = tree.String(setting.ReplaceAllStringFunc(text, func(found string) string {
		name := strings.TrimSuffix(strings.TrimPrefix(found, "${"), "}")
		value, ok := settings[name]
		if !ok && unknown == nil {
			line := strings.Count(text[:strings.Index(text, found)], "\n") + 1
			unknown = diag.Inputf("line %d names the setting %q, which does not exist", line, name)
		}
		return value
	}))
	if unknown != nil {
		return unknown
	}
	return b.Put(p, &filled)
}
