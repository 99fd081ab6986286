package build

import (
	"context"
	"encoding/json"
	"fmt"
	"path"
	"slices"
	"strings"

	"github.com/slipway-os/slipway/pkg/container"
	"github.com/slipway-os/slipway/pkg/deb"
	"github.com/slipway-os/slipway/pkg/diag"
	"github.com/slipway-os/slipway/pkg/kernel"
	"github.com/slipway-os/slipway/pkg/kmod"
	"github.com/slipway-os/slipway/pkg/lock"
	"github.com/slipway-os/slipway/pkg/manifest"
	"github.com/slipway-os/slipway/pkg/progress"
	"github.com/slipway-os/slipway/pkg/rootfs"
	"github.com/slipway-os/slipway/pkg/tree"
)

// composed is what the disk's payloads are encoded from.
type composed struct {
	root    *tree.Tree
	modules *tree.Tree // of the initrd, with their firmware
	image   manifest.Image
	kernel  tree.Content
	// what the root's modules ask for
	firmware *wantedFirmware
	init     tree.Content // the initrd's one program
	// packages of the root, whole: loaders lie in them
	packages []*deb.Package
}

// file returns a file of the packages by its path; nil if none has it.
func (c *composed) file(path string) tree.Content {
	for _, p := range c.packages {
		if n := p.Tree.Lookup(path); n != nil {
			return n.Content
		}
	}
	return nil
}

// compose makes trees of the inputs.
func (r *run) compose(ctx context.Context, in *inputs) (*composed, error) {
	packages, err := r.unpack(ctx, in)
	if err != nil {
		return nil, err
	}
	of := func(set string) ([]*deb.Package, error) {
		i := slices.IndexFunc(r.lock.Sets, func(s lock.Set) bool { return s.Name == set })
		if i < 0 {
			return nil, nil
		}
		var list []*deb.Package
		for _, name := range r.lock.Sets[i].Packages {
			p, ok := packages[name]
			if !ok {
				return nil, diag.Inputf("the lock's set %q names package %q, which is not among its packages (remove the lock to resolve anew)", set, name)
			}
			list = append(list, p)
		}
		return list, nil
	}
	rootPackages, err := of(lock.RootSet)
	if err != nil {
		return nil, err
	}
	c := &composed{packages: rootPackages}
	modules, err := r.kernel(ctx, c, rootPackages)
	if err != nil {
		return nil, err
	}
	nodes := map[string]*tree.Node{}
	programs := tree.NewBuilder(r.lock.Epoch)
	for _, result := range in.components {
		for _, f := range result.Files {
			n := &tree.Node{Type: tree.File, Mode: f.Mode, ModTime: r.lock.Epoch, Content: f.Content}
			nodes[result.Name+"/"+f.Name] = n
			for _, p := range f.Paths {
				if err := programs.Put(p, n); err != nil {
					return nil, err
				}
			}
		}
	}
	if n := nodes["firstboot/firstboot"]; n != nil {
		c.init = n.Content
	} else {
		return nil, diag.Inputf("profile %q has no component firstboot, which is the initrd's program", r.Profile.Name)
	}
	images, err := r.images(ctx, of, nodes)
	if err != nil {
		return nil, err
	}
	baked, err := container.Tree(images, r.lock.Epoch)
	if err != nil {
		return nil, err
	}
	sandbox := ""
	for _, img := range images {
		c.image.Images = append(c.image.Images, img.Reference)
		if strings.HasPrefix(path.Base(img.Reference), "pause:") {
			sandbox = img.Reference
		}
	}
	slices.Sort(c.image.Images)
	c.image.Profile, c.image.Architecture, c.image.Epoch, c.image.Roles = r.Profile.Name, r.arch, r.lock.Epoch, r.Profile.Roles
	c.image.KubernetesVersion, c.image.ImageRepository = r.Profile.Kubernetes.Version, r.Profile.Kubernetes.ImageRepository
	description, err := json.MarshalIndent(c.image, "", "  ")
	if err != nil {
		return nil, err
	}
	err = programs.Put(manifest.ImagePath, &tree.Node{Type: tree.File, Mode: 0o644, ModTime: r.lock.Epoch, Content: tree.Bytes(append(description, '\n'))})
	if err != nil {
		return nil, err
	}
	if err := r.putInventory(programs, c, packages, in.components); err != nil {
		return nil, err
	}
	c.root, err = rootfs.Compose(rootfs.Sources{
		Packages: rootPackages, Prune: r.Profile.OS.Prune, Trim: c.firmware.trim, Overlays: in.overlays,
		Trees:    []*tree.Tree{modules, programs.Tree(), baked},
		Settings: map[string]string{"sandboxImage": sandbox},
		Epoch:    r.lock.Epoch,
	})
	if err != nil {
		return nil, err
	}
	if err := c.firmware.check(c.root); err != nil {
		return nil, err
	}
	c.modules, err = c.firmware.addTo(c.modules, c.root)
	return c, err
}

// unpack reads the packages.
func (r *run) unpack(ctx context.Context, in *inputs) (map[string]*deb.Package, error) {
	names := make([]string, 0, len(in.blobs))
	blobs := make([]tree.Content, 0, len(in.blobs))
	var total int64
	for _, p := range r.lock.Packages {
		names = append(names, p.Name)
		blobs = append(blobs, in.blobs[p.Name])
		total += p.Size
	}
	stage := r.board.Start("unpack", total, progress.Bytes)
	list, err := deb.OpenAll(ctx, r.Store, blobs, stage.Add)
	if err != nil {
		return nil, err
	}
	stage.Done(progress.Result{Bytes: total})
	packages := map[string]*deb.Package{}
	for i, name := range names {
		packages[name] = list[i]
	}
	return packages, nil
}

// kernel finds kernel and modules in the packages, and what firmware the
// modules ask for.
func (r *run) kernel(ctx context.Context, c *composed, packages []*deb.Package) (*tree.Tree, error) {
	stage := r.board.Start("modules", 0, progress.Items)
	var source *deb.Package
	for _, p := range packages {
		for _, name := range p.Tree.Children("boot") {
			release, ok := strings.CutPrefix(name, "vmlinuz-")
			if !ok {
				release, ok = strings.CutPrefix(name, "vmlinux-")
			}
			if ok {
				source, c.image.KernelRelease = p, release
				c.kernel = p.Tree.Lookup("boot/" + name).Content
			}
		}
	}
	if source == nil {
		return nil, diag.At(r.Profile.Origin("kernel.package", r.Profile.Kernel.Package), "name one of the linux-image packages", "package %q brings no kernel", r.Profile.Kernel.Package)
	}
	if err := r.kernelOptions(source.Tree.Lookup("boot/config-" + c.image.KernelRelease)); err != nil {
		return nil, err
	}
	all, err := kmod.Read(ctx, source.Tree, c.image.KernelRelease, r.Store)
	if err != nil {
		return nil, err
	}
	kept, err := all.Prune(r.Profile.Kernel.Prune)
	if err != nil {
		return nil, err
	}
	if err := r.requiredModules(all, kept); err != nil {
		return nil, err
	}
	early := kept.Closure(r.Profile.Kernel.Initrd)
	c.firmware = r.wantedFirmware(kept, early)
	if c.modules, err = early.Uncompressed(ctx, r.Store); err != nil {
		return nil, err
	}
	modules, err := kept.Tree()
	if err != nil {
		return nil, err
	}
	b := tree.NewBuilder(r.lock.Epoch)
	if err := b.PutTree(".", modules); err != nil {
		return nil, err
	}
	// kubeadm and others look for the kernel's configuration there.
	if n := source.Tree.Lookup("boot/config-" + c.image.KernelRelease); n != nil {
		if err := b.Put(path.Join("usr/lib/modules", c.image.KernelRelease, "config"), n); err != nil {
			return nil, err
		}
	}
	stage.Done(progress.Result{Note: fmt.Sprintf("%s: %d of %d modules", c.image.KernelRelease, len(kept.Modules()), len(all.Modules()))})
	return b.Tree(), nil
}

// requiredModules checks that what is kept of a kernel's modules has what the
// profile cannot do without.
func (r *run) requiredModules(all, kept *kmod.Set) error {
	missing, err := kept.Missing(r.Profile.Kernel.Require)
	if err != nil || len(missing) == 0 {
		return err
	}
	at := r.Profile.Origin("kernel.require", missing[0])
	never, err := all.Missing(missing[:1])
	if err != nil {
		return err
	}
	if len(never) > 0 {
		return diag.At(at, "name another kernel in kernel.package", "the kernel of package %q has no module %q", r.Profile.Kernel.Package, missing[0])
	}
	return diag.At(at, "prune less, or leave it out of kernel.require", "kernel.prune takes the module %q away", missing[0])
}

// kernelOptions checks that the kernel was built with what the profile needs.
func (r *run) kernelOptions(config *tree.Node) error {
	wanted := r.Profile.Kernel.Options
	if len(wanted) == 0 {
		return nil
	}
	at := r.Profile.Origin("kernel.options", "")
	if config == nil {
		return diag.At(at, "name another kernel, or leave kernel.options empty", "package %q brings no configuration of its kernel to look for kernel.options in", r.Profile.Kernel.Package)
	}
	text, err := tree.ReadAll(config.Content, kernel.MaxConfig)
	if err != nil {
		return fmt.Errorf("reading the configuration of the kernel of package %q: %w", r.Profile.Kernel.Package, err)
	}
	missing := kernel.Missing(string(text), wanted)
	if len(missing) > 0 {
		return diag.At(r.Profile.Origin("kernel.options", missing[0]), "name another kernel in kernel.package", "the kernel of package %q was built without %s", r.Profile.Kernel.Package, strings.Join(missing, ", "))
	}
	return nil
}

// images assembles the container images.
func (r *run) images(ctx context.Context, of func(string) ([]*deb.Package, error), nodes map[string]*tree.Node) ([]container.Baked, error) {
	stage := r.board.Start("images", 0, progress.Items)
	s := container.Sources{Packages: map[string][]*deb.Package{}, Epoch: r.lock.Epoch}
	for _, l := range r.defs.Layers {
		list, err := of(lock.LayerSet + l.Name)
		if err != nil {
			return nil, err
		}
		s.Packages[l.Name] = list
	}
	s.Program = func(name, program string) (*tree.Node, error) {
		if n := nodes[name+"/"+program]; n != nil {
			return n, nil
		}
		for _, c := range r.Profile.Components {
			if c == name {
				return nil, fmt.Errorf("component %q has no program %q", name, program)
			}
		}
		return nil, fmt.Errorf("profile %q has no component %q", r.Profile.Name, name)
	}
	images, err := container.Assemble(ctx, r.Store, r.defs, s, r.Profile.Kubernetes.ImageRepository, r.arch)
	if err != nil {
		return nil, err
	}
	stage.Done(progress.Result{Note: fmt.Sprintf("%d images of %d layers", len(images), len(r.defs.Layers))})
	return images, nil
}
