package component

import (
	"context"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"github.com/slipway-os/slipway/pkg/diag"
	"github.com/slipway-os/slipway/pkg/store"
)

// kubeadmModule is the module whose kubeadm says which images it wants.
const kubeadmModule = "k8s.io/kubernetes"

// KubeadmImages returns the references of the images that kubeadm of this
// component wants on a control plane under an image repository, such as
// "slipway.local/etcd:3.7.0-0", as kubeadm config images list would print
// them. They are read from kubeadm's source, so that a new version cannot
// bring one that is forgotten.
func (b *Builder) KubeadmImages(ctx context.Context, c Component, repository string) ([]string, error) {
	version, ok := c.required(kubeadmModule)
	if !ok {
		return nil, c.document.Errorf("", "", "component %q does not require %s, which has kubeadm", c.Name, kubeadmModule)
	}
	src, err := c.readSources("amd64") // one list for all of them
	if err != nil {
		return nil, err
	}
	const kind = "kubeadm-images-1"
	key := store.Key(version, src.digest())
	var names []string // "etcd:3.7.0-0"
	if b.NoCache || b.store.Load(kind, key, &names) != nil {
		dir, err := b.moduleSource(ctx, c, src, kubeadmModule, version)
		if err != nil {
			return nil, err
		}
		if names, err = kubeadmImages(filepath.Join(dir, "cmd", "kubeadm", "app"), version); err != nil {
			return nil, diag.Dependency(fmt.Errorf("reading which images kubeadm %s wants: %w", version, err))
		}
		if err := b.store.Save(kind, key, names); err != nil {
			return nil, err
		}
	}
	images := make([]string, len(names))
	for i, name := range names {
		images[i] = repository + "/" + name
	}
	return images, nil
}

// moduleSource returns the directory in which a module lies unpacked.
func (b *Builder) moduleSource(ctx context.Context, c Component, src sources, path, version string) (string, error) {
	t, err := b.toolchain(ctx)
	if err != nil {
		return "", err
	}
	work, err := b.store.TempDir("module-*")
	if err != nil {
		return "", err
	}
	defer os.RemoveAll(work)
	if err := src.write(work); err != nil {
		return "", err
	}
	run := goRun{builder: b, tool: t, component: &c, dir: work}
	return run.moduleDir(ctx, path, version)
}

// kubeadmImages reads the images from kubeadm's source in dir: the list from
// the function that makes it, the names and tags from the constants.
func kubeadmImages(dir, version string) ([]string, error) {
	constants, err := readConstants(filepath.Join(dir, "constants", "constants.go"))
	if err != nil {
		return nil, err
	}
	const maker = "GetControlPlaneImages"
	file := filepath.Join(dir, "images", "images.go")
	parsed, err := parser.ParseFile(token.NewFileSet(), file, nil, parser.SkipObjectResolution)
	if err != nil {
		return nil, err
	}
	var images []string
	var problem error
	for _, d := range parsed.Decls {
		fn, ok := d.(*ast.FuncDecl)
		if !ok || fn.Name.Name != maker {
			continue
		}
		ast.Inspect(fn.Body, func(n ast.Node) bool {
			call, ok := n.(*ast.CallExpr)
			if !ok || problem != nil {
				return problem == nil
			}
			name, ok := call.Fun.(*ast.Ident)
			if !ok || !strings.HasPrefix(name.Name, "Get") {
				return true
			}
			var image string
			if image, problem = constants.image(name.Name, call.Args, version); problem == nil {
				images = append(images, image)
			}
			return false
		})
	}
	if problem == nil && len(images) == 0 {
		problem = fmt.Errorf("%s has no %s that lists images", file, maker)
	}
	return images, problem
}

// kubeadmConstants are the string constants of a package, and its maps from
// numbers to strings.
type kubeadmConstants struct {
	file    string
	strings map[string]string
	maps    map[string]map[int]string
}

// image returns the name and tag that one of the Get…Image functions makes.
func (k kubeadmConstants) image(function string, args []ast.Expr, version string) (string, error) {
	var name, tag string
	var err error
	switch function {
	case "GetKubernetesImage": // (constants.X, cfg)
		selector, ok := args[0].(*ast.SelectorExpr)
		if !ok {
			return "", fmt.Errorf("%s is called with what is no constant", function)
		}
		// kubeadm makes a tag of the version by the same replacement.
		tag = strings.ReplaceAll(version, "+", "_")
		name, err = k.get(selector.Sel.Name)
		return name + ":" + tag, err
	case "GetDNSImage":
		if name, err = k.get("CoreDNSImageName"); err == nil {
			tag, err = k.get("CoreDNSVersion")
		}
	case "GetPauseImage":
		name = "pause"
		tag, err = k.get("PauseVersion")
	case "GetEtcdImage":
		if name, err = k.get("Etcd"); err == nil {
			tag, err = k.etcdTag(version)
		}
	default:
		err = fmt.Errorf("it calls %s, which Slipway does not know", function)
	}
	return name + ":" + tag, err
}

func (k kubeadmConstants) get(name string) (string, error) {
	if v, ok := k.strings[name]; ok {
		return v, nil
	}
	return "", fmt.Errorf("%s has no string constant %s", k.file, name)
}

// etcdTag picks the etcd for a Kubernetes version as kubeadm does: that of
// its minor version, else that of the nearest one that is known.
func (k kubeadmConstants) etcdTag(version string) (string, error) {
	supported := slices.Sorted(maps.Keys(k.maps["SupportedEtcdVersion"]))
	parts := strings.Split(version, ".")
	if len(supported) == 0 || len(parts) < 3 {
		return k.get("DefaultEtcdVersion")
	}
	minor, err := strconv.Atoi(parts[1])
	if err != nil {
		return "", fmt.Errorf("%q is no version", version)
	}
	nearest := min(max(minor, supported[0]), supported[len(supported)-1])
	if tag, ok := k.maps["SupportedEtcdVersion"][nearest]; ok {
		return tag, nil
	}
	return k.get("DefaultEtcdVersion")
}

// readConstants reads the constants and variables of a Go file whose values
// are written out.
func readConstants(file string) (kubeadmConstants, error) {
	k := kubeadmConstants{file: file, strings: map[string]string{}, maps: map[string]map[int]string{}}
	parsed, err := parser.ParseFile(token.NewFileSet(), file, nil, parser.SkipObjectResolution)
	if err != nil {
		return k, err
	}
	ast.Inspect(parsed, func(n ast.Node) bool {
		spec, ok := n.(*ast.ValueSpec)
		if !ok {
			return true
		}
		for i, name := range spec.Names {
			if i >= len(spec.Values) {
				break
			}
			switch v := spec.Values[i].(type) {
			case *ast.BasicLit:
				if s, err := strconv.Unquote(v.Value); err == nil && v.Kind == token.STRING {
					k.strings[name.Name] = s
				}
			case *ast.CompositeLit:
				k.maps[name.Name] = numbered(v)
			}
		}
		return false
	})
	return k, nil
}

// numbered reads a literal map from numbers to strings.
func numbered(lit *ast.CompositeLit) map[int]string {
	m := map[int]string{}
	for _, e := range lit.Elts {
		pair, ok := e.(*ast.KeyValueExpr)
		if !ok {
			continue
		}
		key, keyOK := pair.Key.(*ast.BasicLit)
		value, valueOK := pair.Value.(*ast.BasicLit)
		if !keyOK || !valueOK {
			continue
		}
		number, numberErr := strconv.Atoi(key.Value)
		text, textErr := strconv.Unquote(value.Value)
		if numberErr == nil && textErr == nil {
			m[number] = text
		}
	}
	return m
}
