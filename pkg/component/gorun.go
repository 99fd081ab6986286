package component

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/slipway-os/slipway/pkg/diag"
)

// goRun runs go for a component: it passes on what it is doing, and turns
// what went wrong into one line.
type goRun struct {
	builder   *Builder
	tool      *toolchain
	component *Component
	dir       string
	env       []string
	copies    map[string]string // directories of modules that are copied into the build
}

func (r *goRun) run(ctx context.Context, args ...string) ([]byte, error) {
	var said []string
	out, err := r.tool.run(ctx, r.dir, r.env, func(line string) {
		if activity, ok := activity(line); ok {
			if r.builder.Progress != nil {
				r.builder.Progress(r.component.Name, activity)
			}
			return
		}
		said = append(said, line)
	}, args...)
	if err == nil || ctx.Err() != nil {
		return out, err
	}
	return out, r.explain(err, said)
}

// activity returns what a line of go build -v says is being done.
func activity(line string) (string, bool) {
	if m, ok := strings.CutPrefix(line, "go: downloading "); ok {
		return "downloading " + m, true
	}
	if line != "" && !strings.ContainsAny(line, " \t:#") {
		return "compiling " + line, true
	}
	return "", false
}

// replaceModules lays the component's own files over copies of modules.
func (r *goRun) replaceModules(ctx context.Context) error {
	for i, replace := range r.component.Replace {
		version, ok := r.component.required(replace.Module)
		if !ok {
			return r.component.document.Errorf(fmt.Sprintf("replace[%d].module", i), "", "go.mod does not require module %q", replace.Module)
		}
		dir, err := r.copyModule(ctx, replace.Module)
		if err != nil {
			return err
		}
		for j, name := range replace.Remove {
			if _, err := os.Lstat(filepath.Join(dir, name)); err != nil {
				return r.component.document.Errorf(fmt.Sprintf("replace[%d].remove[%d]", i, j), "", "%s %s has no %s", replace.Module, version, name)
			}
			if err := os.RemoveAll(filepath.Join(dir, name)); err != nil {
				return diag.IO(err)
			}
		}
		if err := copyTree(dir, filepath.Join(r.dir, filepath.FromSlash(replace.Overlay))); err != nil {
			return err
		}
	}
	return nil
}

// copyModule copies a module that go.mod requires into the build, which takes
// it from there, and returns the copy's directory. It is fetched and checked
// against go.sum first. Go overlays no file of its module cache, hence a copy.
func (r *goRun) copyModule(ctx context.Context, path string) (string, error) {
	if dir, ok := r.copies[path]; ok {
		return dir, nil
	}
	version, _ := r.component.required(path)
	from, err := r.moduleDir(ctx, path, version)
	if err != nil {
		return "", err
	}
	dir := filepath.Join(r.dir, fmt.Sprintf("replaced%d", len(r.copies)))
	if err := copyTree(dir, from); err != nil {
		return "", err
	}
	if r.copies == nil {
		r.copies = map[string]string{}
	}
	r.copies[path] = dir
	line := fmt.Sprintf("\nreplace %s => ./%s\n", path, filepath.Base(dir))
	if err := appendFile(filepath.Join(r.dir, "go.mod"), line); err != nil {
		return "", err
	}
	return dir, nil
}

// moduleDir fetches a module if need be and returns where it lies unpacked. Go
// checks a module against go.sum only if it is in there, so it has to be.
func (r *goRun) moduleDir(ctx context.Context, path, version string) (string, error) {
	sums, err := os.ReadFile(filepath.Join(r.dir, "go.sum"))
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return "", diag.IO(err)
	}
	if goSums(sums)[path+" "+version] == "" {
		return "", r.explain(nil, []string{fmt.Sprintf("%s@%s: missing go.sum entry", path, version)})
	}
	out, err := r.run(ctx, "mod", "download", "-json", path+"@"+version)
	var info struct{ Dir, Error string }
	if jsonErr := json.Unmarshal(out, &info); jsonErr == nil && info.Error != "" {
		return "", r.explain(errors.New(info.Error), strings.Split(info.Error, "\n"))
	}
	if err != nil {
		return "", err
	}
	return info.Dir, nil
}

// copyTree copies the regular files below from, over what is there.
func copyTree(to, from string) error {
	return fs.WalkDir(os.DirFS(from), ".", func(name string, d fs.DirEntry, err error) error {
		if err != nil {
			return diag.IO(err)
		}
		target := filepath.Join(to, filepath.FromSlash(name))
		if d.IsDir() {
			if err := os.MkdirAll(target, 0o755); err != nil {
				return diag.IO(err)
			}
			return nil
		}
		if !d.Type().IsRegular() {
			return nil
		}
		data, err := os.ReadFile(filepath.Join(from, filepath.FromSlash(name)))
		if err == nil {
			err = os.WriteFile(target, data, 0o644)
		}
		if err != nil {
			return diag.IO(err)
		}
		return nil
	})
}

func appendFile(file, text string) error {
	f, err := os.OpenFile(file, os.O_WRONLY|os.O_APPEND, 0)
	if err != nil {
		return diag.IO(err)
	}
	_, err = f.WriteString(text)
	if cerr := f.Close(); err == nil {
		err = cerr
	}
	if err != nil {
		return diag.IO(err)
	}
	return nil
}
