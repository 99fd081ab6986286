package build

import (
	"encoding/json"
	"fmt"
	"io"
	"path"
	"slices"
	"strings"

	"github.com/slipway-os/slipway/pkg/boot"
	"github.com/slipway-os/slipway/pkg/component"
	"github.com/slipway-os/slipway/pkg/copyright"
	"github.com/slipway-os/slipway/pkg/deb"
	"github.com/slipway-os/slipway/pkg/kernel"
	"github.com/slipway-os/slipway/pkg/lock"
	"github.com/slipway-os/slipway/pkg/manifest"
	"github.com/slipway-os/slipway/pkg/tree"
)

// putInventory puts into b what the image is made of.
func (r *run) putInventory(b *tree.Builder, c *composed, packages map[string]*deb.Package, components []component.Result) error {
	inventory := manifest.Inventory{Format: manifest.InventoryFormat}
	var err error
	if inventory.Kernel, err = r.describeKernel(c); err != nil {
		return err
	}
	method, err := boot.For(r.arch)
	if err != nil {
		return err
	}
	if inventory.Loader, err = method.Loader(c.file); err != nil {
		return r.fault(fmt.Errorf("reading the loader: %w", err))
	}
	if inventory.Packages, err = describePackages(r.lock, packages); err != nil {
		return err
	}
	for _, result := range components {
		d := manifest.Component{Name: result.Name, Version: result.Version, Module: result.Module, Paths: []string{}}
		for _, f := range result.Files {
			d.Paths = append(d.Paths, f.Paths...)
		}
		slices.Sort(d.Paths)
		inventory.Components = append(inventory.Components, d)
	}
	slices.SortFunc(inventory.Components, func(a, b manifest.Component) int { return strings.Compare(a.Name, b.Name) })
	data, err := json.MarshalIndent(inventory, "", " ")
	if err != nil {
		return err
	}
	return b.Put(manifest.InventoryPath, &tree.Node{Type: tree.File, Mode: 0o644, ModTime: r.lock.Epoch, Content: tree.Bytes(append(data, '\n'))})
}

func (r *run) describeKernel(c *composed) (manifest.Kernel, error) {
	k := manifest.Kernel{CommandLine: strings.Join(r.Profile.Kernel.CommandLine, " ")}
	for _, p := range c.packages {
		for _, name := range []string{"vmlinuz-", "vmlinux-"} {
			if p.Tree.Lookup("boot/"+name+c.image.KernelRelease) != nil {
				k.Package = p.Control["Package"]
			}
		}
	}
	opened, err := c.kernel.Open()
	if err != nil {
		return k, err
	}
	defer opened.Close()
	digest, err := kernel.Digest(io.NewSectionReader(opened, 0, c.kernel.Size()))
	k.SHA256 = digest.String()
	return k, err
}

// describePackages describes the packages of a lock with what they themselves
// say of their licences.
func describePackages(l *lock.Lock, packages map[string]*deb.Package) ([]manifest.Package, error) {
	docs, err := documentation(l, packages)
	if err != nil {
		return nil, err
	}
	var list []manifest.Package
	for _, p := range l.Packages {
		d := manifest.Package{Name: p.Name, Version: p.Version, Architecture: p.Architecture, Source: p.Name, SourceVersion: p.Version}
		if p.Source != "" { // "bash (5.2.37-2)", or without a version
			name, version, ok := strings.Cut(p.Source, " (")
			d.Source = name
			if ok {
				d.SourceVersion = strings.TrimSuffix(version, ")")
			}
		}
		for _, s := range l.Sets {
			if slices.Contains(s.Packages, p.Name) {
				d.In = append(d.In, s.Name)
			}
		}
		if d.Licences, err = licences(docs, p.Name); err != nil {
			return nil, fmt.Errorf("reading the licences of package %q: %w", p.Name, err)
		}
		list = append(list, d)
	}
	return list, nil
}

const docFolder = "usr/share/doc"

// documentation returns the folder of all packages: the copyright file of one
// may be a symlink into that of another.
func documentation(l *lock.Lock, packages map[string]*deb.Package) (*tree.Tree, error) {
	docs := tree.NewBuilder(l.Epoch)
	for _, p := range l.Packages {
		from := packages[p.Name].Tree
		at := path.Join(docFolder, p.Name)
		err := error(nil)
		switch n := from.Lookup(at); {
		case n == nil:
		case n.Type == tree.Dir:
			var sub *tree.Tree
			if sub, err = from.Sub(at); err == nil {
				err = docs.PutTree(at, sub)
			}
		default:
			err = docs.Put(at, n)
		}
		if err != nil {
			return nil, err
		}
	}
	return docs.Tree(), nil
}

// licences returns what a package's copyright file names; nil if there is none
// that is machine-readable.
func licences(docs *tree.Tree, name string) ([]string, error) {
	at, ok := docs.Resolve(path.Join(docFolder, name, "copyright"))
	if !ok || docs.Lookup(at).Type != tree.File {
		return nil, nil
	}
	const limit = 4 << 20
	text, err := tree.ReadAll(docs.Lookup(at).Content, limit)
	if err != nil {
		return nil, err
	}
	names, _ := copyright.Licences(string(text))
	return names, nil
}
