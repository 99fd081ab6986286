package component

import (
	"cmp"
	"context"
	"debug/buildinfo"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"

	"golang.org/x/mod/modfile"
	"golang.org/x/sync/errgroup"

	"github.com/slipway-os/slipway/pkg/diag"
	"github.com/slipway-os/slipway/pkg/lock"
	"github.com/slipway-os/slipway/pkg/store"
	"github.com/slipway-os/slipway/pkg/tree"
)

// Builder compiles components with the go command, the only program it
// executes, and keeps what comes out in a store. Its methods may be called
// from any goroutine.
type Builder struct {
	// Offline forbids downloads.
	Offline bool
	// NoCache compiles anew what the store already has.
	NoCache bool
	// Progress, if not nil, is told what happens: "compiling k8s.io/api/core/v1".
	Progress func(component, activity string)

	store *store.Store

	mu   sync.Mutex
	tool *toolchain
}

// NewBuilder returns a builder that keeps what it compiles in s.
func NewBuilder(s *store.Store) *Builder { return &Builder{store: s} }

// Catalog is a Source: the components of a directory, compiled.
type Catalog struct {
	Dir     string // profiles/components
	Builder *Builder
}

// Component implements Source.
func (c Catalog) Component(ctx context.Context, name, arch string) (Result, error) {
	loaded, err := Load(filepath.Join(c.Dir, name))
	if err != nil {
		return Result{}, err
	}
	return c.Builder.Build(ctx, loaded, arch)
}

// All makes several components, in the order of names.
func All(ctx context.Context, from Source, names []string, arch string) ([]Result, error) {
	// One go command compiles on every core, but links on one: two at a time
	// keep the machine busy.
	const atOnce = 2
	results := make([]Result, len(names))
	group, ctx := errgroup.WithContext(ctx)
	group.SetLimit(atOnce)
	for i, name := range names {
		group.Go(func() (err error) {
			results[i], err = from.Component(ctx, name, arch)
			return err
		})
	}
	return results, group.Wait()
}

// recordKind names a component's records in the store. The number changes
// whenever this package compiles otherwise than it did.
const recordKind = "component-1"

// record is what the store remembers of a compiled component.
type record struct {
	Programs []compiled
	Modules  []lock.Module
}

type compiled struct {
	Name   string
	Digest tree.Digest
	Size   int64
}

// Toolchain returns the version of the go command: "go1.26.8".
func (b *Builder) Toolchain(ctx context.Context) (string, error) {
	t, err := b.toolchain(ctx)
	if err != nil {
		return "", err
	}
	return t.version, nil
}

func (b *Builder) toolchain(ctx context.Context) (*toolchain, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.tool != nil {
		return b.tool, nil
	}
	t, err := findToolchain(ctx, b.store.Dir(), b.Offline)
	if err == nil {
		b.tool = t
	}
	return t, err
}

// Build compiles a component for an architecture (GOARCH), unless the store
// has it. The bytes depend on the component's directory, the go command's
// version and the architecture, and on nothing else.
func (b *Builder) Build(ctx context.Context, c Component, arch string) (Result, error) {
	if _, ok := levels[arch]; !ok {
		return Result{}, diag.Inputf("compiling %s: unknown architecture %q (known: %s)",
			c.Name, arch, strings.Join(slices.Sorted(maps.Keys(levels)), ", "))
	}
	src, err := c.readSources(arch)
	if err != nil {
		return Result{}, err
	}
	t, err := b.toolchain(ctx)
	if err != nil {
		return Result{}, err
	}
	key := c.key(t.version, arch, src)
	result := Result{Name: c.Name, Version: c.Version, Module: c.module()}
	load := func() bool {
		var r record
		return b.store.Load(recordKind, key, &r) == nil && b.fill(&result, c, r)
	}
	if !b.NoCache && load() {
		result.Cached = true
		return result, nil
	}
	unlock, err := b.store.Lock(ctx, "component/"+key)
	if err != nil {
		return Result{}, err
	}
	defer unlock()
	if !b.NoCache && load() { // another build made it while this one waited
		result.Cached = true
		return result, nil
	}
	r, err := b.compile(ctx, t, c, arch, src)
	if err != nil {
		return Result{}, err
	}
	if err := b.store.Save(recordKind, key, r); err != nil {
		return Result{}, err
	}
	if !b.fill(&result, c, r) {
		return Result{}, diag.IO(fmt.Errorf("compiling %s: the store lost what was just put into it", c.Name))
	}
	return result, nil
}

// key names all that determines what is compiled. The sources hold the
// component's description, and so its programs and tags.
func (c *Component) key(toolchain, arch string, src sources) string {
	return store.Key(toolchain, arch, levels[arch], c.flags(), src.digest())
}

// fill completes a result from a record; false if the store lacks a file.
func (b *Builder) fill(result *Result, c Component, r record) bool {
	files := make([]File, 0, len(r.Programs))
	for i, p := range r.Programs {
		content, err := b.store.Blob(p.Digest, p.Size)
		if err != nil || i >= len(c.Programs) {
			return false
		}
		files = append(files, File{Name: p.Name, Paths: c.Programs[i].Paths, Mode: 0o755, Content: content})
	}
	result.Files, result.Modules = files, r.Modules
	return len(files) == len(c.Programs)
}

// compile runs go build in a directory of its own.
func (b *Builder) compile(ctx context.Context, t *toolchain, c Component, arch string, src sources) (record, error) {
	work, err := b.store.TempDir("component-*")
	if err != nil {
		return record{}, err
	}
	defer os.RemoveAll(work)
	main, out, tmp := filepath.Join(work, "main"), filepath.Join(work, "out"), filepath.Join(work, "tmp")
	for _, dir := range []string{main, out, tmp} {
		if err := os.Mkdir(dir, 0o755); err != nil {
			return record{}, diag.IO(err)
		}
	}
	if err := src.write(main); err != nil {
		return record{}, err
	}
	run := goRun{builder: b, tool: t, component: &c, dir: main, env: []string{"GOTMPDIR=" + tmp, "GOARCH=" + arch, levels[arch]}}
	if err := run.replaceModules(ctx); err != nil {
		return record{}, err
	}
	if err := run.exportMains(ctx, arch); err != nil {
		return record{}, err
	}
	args := []string{"build", "-v", "-trimpath", "-buildvcs=false", "-ldflags", c.flags(), "-o", out + "/"}
	if len(c.Tags) > 0 {
		args = append(args, "-tags", strings.Join(c.Tags, ","))
	}
	for _, p := range c.Programs {
		args = append(args, p.main())
	}
	if _, err := run.run(ctx, args...); err != nil {
		return record{}, err
	}
	return b.keep(&c, out, src)
}

// keep puts the compiled programs into the store.
func (b *Builder) keep(c *Component, out string, src sources) (record, error) {
	var r record
	modules := map[string]lock.Module{}
	sums := goSums(src["go.sum"])
	for _, p := range c.Programs {
		file := filepath.Join(out, c.output(p))
		info, err := buildinfo.ReadFile(file)
		if err != nil {
			return r, fmt.Errorf("compiling %s: reading what go build made of %s: %w", c.Name, p.main(), err)
		}
		for _, m := range info.Deps {
			linked := m
			if m.Replace != nil && !modfile.IsDirectoryPath(m.Replace.Path) {
				linked = m.Replace
			}
			sum := cmp.Or(linked.Sum, sums[linked.Path+" "+linked.Version])
			modules[m.Path] = lock.Module{Path: linked.Path, Version: linked.Version, Sum: sum}
		}
		f, err := os.Open(file)
		if err != nil {
			return r, diag.IO(err)
		}
		content, err := b.store.Put(f)
		f.Close()
		if err != nil {
			return r, err
		}
		r.Programs = append(r.Programs, compiled{Name: p.Name, Digest: content.Digest(), Size: content.Size()})
	}
	for _, name := range slices.Sorted(maps.Keys(modules)) {
		r.Modules = append(r.Modules, modules[name])
	}
	return r, nil
}

// goSums reads a go.sum: hashes of module zips by "path version".
func goSums(data []byte) map[string]string {
	sums := map[string]string{}
	for line := range strings.Lines(string(data)) {
		if f := strings.Fields(line); len(f) == 3 && !strings.HasSuffix(f[1], "/go.mod") {
			sums[f[0]+" "+f[1]] = f[2]
		}
	}
	return sums
}
