package build

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"golang.org/x/sync/errgroup"

	"github.com/slipway-os/slipway/pkg/apt"
	"github.com/slipway-os/slipway/pkg/component"
	"github.com/slipway-os/slipway/pkg/debian"
	"github.com/slipway-os/slipway/pkg/diag"
	"github.com/slipway-os/slipway/pkg/fetch"
	"github.com/slipway-os/slipway/pkg/lock"
	"github.com/slipway-os/slipway/pkg/progress"
	"github.com/slipway-os/slipway/pkg/store"
	"github.com/slipway-os/slipway/pkg/tree"
)

// inputs is everything that a disk is made from, by reference.
type inputs struct {
	blobs      map[string]tree.Content // packages, by name
	components []component.Result
	overlays   []*tree.Tree
}

// gather resolves, unless there is a lock, and fetches and compiles. It
// leaves the lock complete, written to the output folder.
func (r *run) gather(ctx context.Context) (*inputs, error) {
	in, given := &inputs{}, r.given
	r.lock = &lock.Lock{Format: lock.Format, Profile: r.Profile.Name, Architecture: r.arch}
	if given != nil {
		copied := *given
		r.lock = &copied
	}
	toolchain, err := r.compiler.Toolchain(ctx)
	if err != nil {
		return nil, err
	}
	if given != nil && given.Toolchain != toolchain {
		return nil, r.notLocked("use that toolchain, or remove the lock to resolve anew",
			"the lock was made with %s, this is %s: other bytes would come out", given.Toolchain, toolchain)
	}
	r.lock.Toolchain = toolchain
	group, inner := errgroup.WithContext(ctx)
	group.Go(func() (err error) {
		in.blobs, err = r.packages(inner, given != nil)
		return err
	})
	group.Go(func() (err error) {
		in.components, err = r.compile(inner)
		return err
	})
	if err := group.Wait(); err != nil {
		return nil, err
	}
	if r.lock.Components, err = r.lockComponents(in.components, given); err != nil {
		return nil, err
	}
	for _, name := range r.Profile.Overlays {
		t, err := tree.FromDir(filepath.Join(r.Project.Root, "overlays", name), r.lock.Epoch)
		if err != nil {
			return nil, err
		}
		in.overlays = append(in.overlays, t)
	}
	return in, r.lock.Write(filepath.Join(r.Out, lockName))
}

// packages resolves which packages there are to be, and fetches them.
func (r *run) packages(ctx context.Context, locked bool) (map[string]tree.Content, error) {
	mirror := r.Mirror
	if mirror == "" {
		mirror = r.Profile.OS.Mirror
	}
	mirrors, err := apt.FindMirrors(apt.Options{Mirror: mirror, Security: r.Profile.OS.SecurityMirror})
	if err != nil && !(locked && r.Offline) {
		return nil, err
	}
	if locked && len(r.lock.Suites) > 0 && r.lock.Suites[0].Name != r.Profile.OS.Suite {
		return nil, diag.At(r.Profile.Origin("os.suite", ""), "remove the lock to resolve anew, or build with the --with that it was made with",
			"the lock %s is of suite %q, not of %q", r.LockFile, r.lock.Suites[0].Name, r.Profile.OS.Suite)
	}
	suites := debian.Suites(mirrors.Main, mirrors.Security, r.Profile.OS.Suite, r.Profile.OS.Components...)
	for i := range suites {
		suites[i].Frozen = r.Profile.OS.Frozen
	}
	if !locked {
		stage := r.board.Start("resolve", 0, progress.Items)
		stage.Note(mirrors.From)
		if err := r.resolve(ctx, suites); err != nil {
			return nil, err
		}
		stage.Done(progress.Result{Note: fmt.Sprintf("%d packages; %s", len(r.lock.Packages), mirrors.From)})
	}
	var total int64
	var items []fetch.Item
	hits := 0
	for _, p := range r.lock.Packages {
		address, err := debian.Package(p).URL(suites)
		if err != nil {
			return nil, err
		}
		items = append(items, fetch.Item{URL: address, Size: p.Size, SHA256: p.SHA256})
		total += p.Size
		if digest, err := hex.DecodeString(p.SHA256); err == nil && len(digest) == sha256.Size {
			if _, err := r.Store.Blob(tree.Digest(digest), p.Size); err == nil {
				hits++
			}
		}
	}
	stage := r.board.Start("fetch", total, progress.Bytes)
	contents, err := r.client.Fetch(ctx, items, stage.Add)
	if locked && notFound(err) {
		return nil, fmt.Errorf("%w; mirrors keep no old versions: name one that does, or remove the lock to resolve anew", err)
	}
	if err != nil {
		return nil, err
	}
	stage.Done(progress.Result{Bytes: total, Hits: hits, Misses: len(items) - hits})
	blobs := map[string]tree.Content{}
	for i, p := range r.lock.Packages {
		blobs[p.Name] = contents[i]
	}
	return blobs, nil
}

// notFound says that a server was reached and lacks a file.
func notFound(err error) bool {
	var failed *fetch.Error
	return errors.As(err, &failed) && failed.NotFound()
}

// keyring returns the keys that sign the package indexes; nil for Debian's.
func (r *run) keyring() ([]byte, error) {
	file := r.Profile.KeyringFile()
	if file == "" {
		return nil, nil
	}
	data, err := os.ReadFile(file)
	if err != nil {
		return nil, diag.At(r.Profile.Origin("os.keyring", ""), "", "reading the keyring: %v", err)
	}
	return data, nil
}

// resolve fills the lock's suites, packages, sets and epoch.
func (r *run) resolve(ctx context.Context, suites []debian.Suite) error {
	// What was built here before is the oldest that may be built now: a mirror
	// that shows an older state is stale, or hides fixes.
	if last, err := lock.Read(filepath.Join(r.Out, lockName)); err == nil && last != nil {
		for i := range suites {
			for _, s := range last.Suites {
				if s.Name == suites[i].Name {
					suites[i].NotBefore = s.Date
				}
			}
		}
	}
	keyring, err := r.keyring()
	if err != nil {
		return err
	}
	repository, err := r.repository(keyring)
	if err != nil {
		return diag.At(r.Profile.Origin("os.keyring", ""), "", "%v", err)
	}
	indexes, err := repository.Indexes(ctx, suites, r.arch)
	if wrong := (*debian.ComponentError)(nil); errors.As(err, &wrong) {
		hint := diag.Suggest(wrong.Component, wrong.Known)
		if hint == "" {
			hint = "it has " + strings.Join(wrong.Known, ", ")
		}
		return diag.At(r.Profile.Origin("os.components", wrong.Component), hint, "%v", wrong)
	}
	if wrong := (*debian.SuiteError)(nil); errors.As(err, &wrong) {
		hint := diag.Suggest(wrong.Suite, wrong.Known)
		if hint == "" {
			hint = "it has " + strings.Join(wrong.Known, ", ")
		}
		return diag.At(r.Profile.Origin("os.suite", ""), hint, "%v", wrong)
	}
	if notFound(err) {
		return fmt.Errorf("%w; os.mirror and os.securityMirror in the profile name other mirrors", err)
	}
	if err != nil {
		return err
	}
	for _, x := range indexes {
		r.lock.Suites = append(r.lock.Suites, lock.Suite{Name: x.Suite, Date: x.Date})
		r.lock.Epoch = max(r.lock.Epoch, x.Date)
	}
	all := map[string]lock.Package{}
	add := func(set string, want, exclude []string) error {
		packages, err := debian.Resolve(indexes, want, exclude, r.arch)
		var wrong *debian.PackageError
		if errors.As(err, &wrong) && wrong.Unknown {
			if found := repository.Elsewhere(ctx, suites, wrong.Package, r.arch); len(found) > 0 {
				wrong.Msg += fmt.Sprintf(" for %s, only for %s", r.arch, strings.Join(found, ", "))
				wrong.Hint = "name it in profiles of those alone"
			}
		}
		if err != nil {
			return err
		}
		s := lock.Set{Name: set}
		for _, p := range packages {
			all[p.Name] = lock.Package(p)
			s.Packages = append(s.Packages, p.Name)
		}
		r.lock.Sets = append(r.lock.Sets, s)
		return nil
	}
	p := r.Profile
	if err := add(lock.RootSet, append(slices.Clone(p.OS.Packages), p.Kernel.Package), p.OS.Exclude); err != nil {
		var wrong *debian.PackageError
		if errors.As(err, &wrong) {
			field := "os.packages"
			if wrong.Package == p.Kernel.Package {
				field = "kernel.package"
			}
			return diag.At(p.Origin(field, wrong.Package), wrong.Hint, "%s", wrong.Msg)
		}
		return err
	}
	for i := range r.defs.Layers {
		l := &r.defs.Layers[i]
		if len(l.Packages) == 0 {
			continue
		}
		if err := add(lock.LayerSet+l.Name, l.Packages, l.Exclude); err != nil {
			var wrong *debian.PackageError
			if errors.As(err, &wrong) {
				return diag.At(l.Position(fmt.Sprintf("packages[%d]", slices.Index(l.Packages, wrong.Package))), wrong.Hint, "%s", wrong.Msg)
			}
			return fmt.Errorf("images/layers/%s.yaml: %w", l.Name, err)
		}
	}
	for _, p := range all {
		r.lock.Packages = append(r.lock.Packages, p)
	}
	slices.SortFunc(r.lock.Packages, func(a, b lock.Package) int { return strings.Compare(a.Name, b.Name) })
	return nil
}

// compile makes the components, and gives the image definitions their tags.
func (r *run) compile(ctx context.Context) ([]component.Result, error) {
	stage := r.board.Start("components", int64(len(r.Profile.Components)), progress.Items)
	r.compiler.Progress = func(_, activity string) { stage.Note(activity) }
	results, err := component.All(ctx, counting{r.components, stage}, r.Profile.Components, r.arch)
	if err != nil {
		return nil, err
	}
	versions := map[string]string{}
	done := progress.Result{}
	for _, c := range results {
		versions[c.Name] = c.Version
		for _, f := range c.Files {
			done.Bytes += f.Content.Size()
		}
		if c.Cached {
			done.Hits++
		} else {
			done.Misses++
		}
	}
	wanted, err := r.kubeadmImages(ctx)
	if err != nil {
		return nil, err
	}
	if err := r.defs.Complete(wanted, versions); err != nil {
		return nil, err
	}
	stage.Done(done)
	return results, nil
}

// kubernetes is the component whose version the profile names.
const kubernetes = "kubernetes"

// checkKubernetes compares the version that the profile names with that of the
// component, which go.mod has, before anything is compiled.
func (r *run) checkKubernetes() error {
	if !slices.Contains(r.Profile.Components, kubernetes) {
		return nil
	}
	c, err := component.Load(filepath.Join(r.componentsDir(), kubernetes))
	if err != nil {
		return err
	}
	if c.Version != r.Profile.Kubernetes.Version {
		return diag.At(r.Profile.Origin("kubernetes.version", ""), "pin it in profiles/components/kubernetes/go.mod", "kubernetes.version is %s, but the component is %s", r.Profile.Kubernetes.Version, c.Version)
	}
	return nil
}

// kubeadmImages returns the images that kubeadm of the profile wants; none if
// the profile is without Kubernetes.
func (r *run) kubeadmImages(ctx context.Context) ([]string, error) {
	if !slices.Contains(r.Profile.Components, kubernetes) {
		return nil, nil
	}
	loaded, err := component.Load(filepath.Join(r.componentsDir(), kubernetes))
	if err != nil {
		return nil, err
	}
	return r.compiler.KubeadmImages(ctx, loaded, r.Profile.Kubernetes.ImageRepository)
}

// counting tells a stage of each component that is there.
type counting struct {
	component.Source
	stage *progress.Stage
}

func (c counting) Component(ctx context.Context, name, arch string) (component.Result, error) {
	r, err := c.Source.Component(ctx, name, arch)
	if err == nil {
		c.stage.Add(1)
	}
	return r, err
}

// key names everything that determines the disk.
func (in *inputs) key(r *run) (string, error) {
	program, err := r.self()
	if err != nil {
		return "", err
	}
	parts := []any{program, r.Profile, r.lock, r.defs}
	for _, c := range in.components {
		for _, f := range c.Files {
			parts = append(parts, f.Name, f.Content.Digest().String())
		}
	}
	for _, o := range in.overlays {
		o.Walk(func(p string, n *tree.Node) error {
			digest := ""
			if n.Type == tree.File {
				digest = n.Digest().String()
			}
			parts = append(parts, p, n.Type, n.Mode, n.Target, digest)
			return nil
		})
	}
	return store.Key(parts...), nil
}
