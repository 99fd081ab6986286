package tree

import (
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/slipway-os/slipway/pkg/diag"
)

// FromDir returns the tree below a directory of the building machine, as an
// overlay is kept in a repository: everything belongs to root, files are 0755
// if their owner may execute them and 0644 otherwise, directories 0755, and
// all times are modTime. (Neither the checkout's umask nor its clock shows.)
func FromDir(dir string, modTime int64) (*Tree, error) {
	b := NewBuilder(modTime)
	err := filepath.WalkDir(dir, func(name string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		rel, err := filepath.Rel(dir, name)
		if err != nil {
			return err
		}
		n := &Node{ModTime: modTime}
		switch d.Type() {
		case fs.ModeDir:
			n.Type, n.Mode = Dir, 0o755
		case fs.ModeSymlink:
			n.Type, n.Mode = Symlink, 0o777
			if n.Target, err = os.Readlink(name); err != nil {
				return err
			}
		case 0:
			info, err := d.Info()
			if err != nil {
				return err
			}
			n.Type, n.Mode = File, 0o644
			if info.Mode()&0o100 != 0 {
				n.Mode = 0o755
			}
			if n.Content, err = HashFile(name); err != nil {
				return err
			}
		default:
			return diag.Inputf("%q is neither file, directory nor symlink", name)
		}
		return b.Put(filepath.ToSlash(rel), n)
	})
	if err != nil {
		return nil, fmt.Errorf("reading overlay %q: %w", dir, err)
	}
	return b.Tree(), nil
}
