package container_test

import (
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/slipway-os/slipway/pkg/container"
	"github.com/slipway-os/slipway/pkg/diag"
)

// images writes definitions into a new images/ directory, by path without the
// suffix, and enters it, so that messages name files the same everywhere.
func images(t testing.TB, files map[string]string) {
	t.Helper()
	t.Chdir(t.TempDir())
	for p, text := range files {
		file := filepath.Join("images", p+".yaml")
		if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(file, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
}

// good is the least that a set can be.
func good() map[string]string {
	return map[string]string{
		"sets/s":      "images: [web]\n",
		"web":         "layers: [base]\nentrypoint: [/web]\ntag: v1\n",
		"layers/base": "files: {etc/x: x}\n",
	}
}

func TestBadDefinitions(t *testing.T) {
	for _, c := range []struct{ name, file, text, want string }{
		{"unknown set", "sets/s", "", `unknown image set "t" (there are: s)`},
		{"not YAML", "web", "layers: [\n", `images/web.yaml:1:10: not valid YAML: did not find expected node content`},
		{"unknown field", "web", "layers: [base]\nentrypiont: [/x]\n", "images/web.yaml:2:1: unknown field \"entrypiont\" (did you mean \"entrypoint\"?)"},
		{"wrong type", "web", "layers: base\n", `images/web.yaml:1:9: layers must be a list, not "base"`},
		{"unknown image", "sets/s", "images:\n  - wbe\n", `images/sets/s.yaml:2:5: unknown image "wbe" (did you mean "web"?)`},
		{"image of another directory", "sets/s", "images: [layers/base]\n", `images/sets/s.yaml:1:10: unknown image "layers/base" (name a file without its directory)`},
		{"image twice", "sets/s", "images: [web, web]\n", `images/sets/s.yaml:1:15: image "web" is named twice`},
		{"unknown layer", "web", "layers: [bsae]\nentrypoint: [/x]\n", `images/web.yaml:1:10: unknown layer "bsae" (did you mean "base"?)`},
		{"layer twice", "web", "layers: [base, base]\nentrypoint: [/x]\n", `images/web.yaml:1:16: layer "base" is named twice`},
		{"no layers, no entrypoint", "web", "tag: v1\n", "images/web.yaml:1:1: image \"web\" has no layers (name files of images/layers)\nimages/web.yaml:1:1: image \"web\" has no entrypoint (give the program's path)"},
		{"user by name", "web", "layers: [base]\nentrypoint: [/x]\nuser: nobody\n", `images/web.yaml:3:7: user "nobody" is not uid:gid (for example "65532:65532")`},
		{"working directory", "web", "layers: [base]\nentrypoint: [/x]\nworkingDirectory: tmp\n", `images/web.yaml:3:19: working directory "tmp" is not absolute (start it with a slash)`},
		{"environment", "web", "layers: [base]\nentrypoint: [/x]\nenvironment: [A=1, B]\n", `images/web.yaml:3:20: "B" is not NAME=value (for example HOME=/root)`},
		{"unknown field of a layer", "layers/base", "file: {a: b}\n", `images/layers/base.yaml:1:1: unknown field "file" (did you mean "files"?)`},
		{"path that climbs", "layers/base", "files: {../etc/x: y}\n", `images/layers/base.yaml:1:19: bad path "../etc/x" (relative to the root: usr/bin/x)`},
		{"absolute path", "layers/base", "links:\n  /a: b\n", `images/layers/base.yaml:2:7: bad path "/a" (relative to the root: usr/bin/x)`},
		{"link to nothing", "layers/base", "links: {a: ''}\n", `images/layers/base.yaml:1:12: link "a" leads nowhere`},
		{"mode", "layers/base", "directories: {tmp: \"1888\"}\n", `images/layers/base.yaml:1:20: "1888" is not a mode in octal (for example "0755")`},
		{"mode without quotes", "layers/base", "directories: {tmp: 0755}\n", `images/layers/base.yaml:1:20: directories.tmp must be a string, not the number 0755 (write "0755", with the quotes)`},
		{"mode of a device", "layers/base", "directories: {tmp: \"20755\"}\n", `images/layers/base.yaml:1:20: "20755" is not a mode in octal (for example "0755")`},
		{"glob", "layers/base", "prune: [usr, 'a[']\n", `images/layers/base.yaml:1:14: bad glob "a["`},
		{"capability", "layers/base", "programs: [{component: a, program: b, paths: [c], capabilities: [sys_admin]}]\n", `images/layers/base.yaml:1:66: unknown capability "sys_admin" (known: net_bind_service)`},
		{"program without a path", "layers/base", "programs: [{component: a, program: b}]\n", `images/layers/base.yaml:1:12: a program needs component, program and paths`},
		{"in the set and left out", "sets/s", "images: [web]\nwithout: [web]\n", `images/sets/s.yaml:2:11: image "web" is in the set and left out of it (name it in one of the two)`},
		{"several at once", "layers/base", "links: {b: '', a: ''}\nprune: ['[']\n", "images/layers/base.yaml:2:9: bad glob \"[\"\nimages/layers/base.yaml:1:19: link \"a\" leads nowhere\nimages/layers/base.yaml:1:12: link \"b\" leads nowhere"},
	} {
		t.Run(c.name, func(t *testing.T) {
			files := good()
			files["other"] = files["web"]
			set := "s"
			if c.text == "" {
				set = "t"
			} else {
				files[c.file] = c.text
			}
			images(t, files)
			_, err := container.Load("images", set)
			if err == nil || err.Error() != c.want || diag.ExitCode(err) != diag.ExitInput {
				t.Errorf("got  %v (status %d)\nwant %s", err, diag.ExitCode(err), c.want)
			}
		})
	}
}

func TestAWrongLayerIsToldOnce(t *testing.T) {
	files := good()
	files["sets/s"], files["web2"], files["layers/base"] = "images: [web, web2]\n", files["web"], "x: y\n"
	images(t, files)
	_, err := container.Load("images", "s")
	if err == nil || strings.Count(err.Error(), "\n") != 0 {
		t.Errorf("got %v", err)
	}
}

func TestLayersAreLoadedOnceInTheOrderOfFirstUse(t *testing.T) {
	files := good()
	files["sets/s"] = "images: [b, a]\n"
	files["a"] = "layers: [one, two]\nentrypoint: [/a]\n"
	files["b"] = "layers: [two, three]\nentrypoint: [/b]\n"
	for _, l := range []string{"one", "two", "three"} {
		files["layers/"+l] = "{}\n"
	}
	images(t, files)
	d, err := container.Load("images", "s")
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, l := range d.Layers {
		got = append(got, l.Name)
	}
	if !slices.Equal(got, []string{"two", "three", "one"}) {
		t.Errorf("layers %q", got)
	}
}

// What kubeadm wants is in the set, under the tag that it wants.
func TestComplete(t *testing.T) {
	for _, c := range []struct {
		name     string
		image    string
		wanted   []string
		versions map[string]string
		tag      string
		want     string
	}{
		{"the tag is kubeadm's", "", []string{"r/web:v1.2.3"}, nil, "v1.2.3", ""},
		{"of a component, with a build number", "component: c\n", []string{"r/web:3.7.0-0"}, map[string]string{"c": "v3.7.0"}, "3.7.0-0", ""},
		{"of a release candidate", "component: c\n", []string{"r/web:v1.2.0-rc.1"}, map[string]string{"c": "v1.2.0-rc.1"}, "v1.2.0-rc.1", ""},
		{"with a tag of its own, of which kubeadm knows nothing", "tag: x1\n", nil, nil, "x1", ""},
		{"missing", "tag: x\n", []string{"r.example:5000/x/dns:v1"}, nil, "", `the image set has no "dns", which kubeadm wants as r.example:5000/x/dns:v1; add images/dns.yaml and name it in the set, or in its "without" if no node of it runs that`},
		{"another tag than kubeadm wants", "tag: v1.2.2\n", []string{"r/web:v1.2.3"}, nil, "", `images/web.yaml:3:6: image "web" has the tag v1.2.2, but kubeadm wants v1.2.3 (leave it out)`},
		{"no tag at all", "", nil, nil, "", `images/web.yaml:1:1: image "web" has no tag (neither kubeadm nor one component names one)`},
		{"no tag that can be", "tag: 'a b'\n", nil, nil, "", `images/web.yaml:3:6: "web:a b" is not a name and tag of an image`},
		{"component of another version", "component: c\n", []string{"r/web:v1.2.3"}, map[string]string{"c": "v1.2.4"}, "", `images/web.yaml:3:12: image "web" must be v1.2.3, but component "c" is v1.2.4 (pin that version in profiles/components/c)`},
		{"component of a version that begins alike", "component: c\n", []string{"r/web:v1.2.30"}, map[string]string{"c": "v1.2.3"}, "", `images/web.yaml:3:12: image "web" must be v1.2.30, but component "c" is v1.2.3 (pin that version in profiles/components/c)`},
		{"component that the profile lacks", "component: c\n", []string{"r/web:v1.2.3"}, nil, "", `images/web.yaml:3:12: image "web" is of component "c", which the profile does not have (add it to the profile's components)`},
	} {
		t.Run(c.name, func(t *testing.T) {
			files := good()
			files["web"] = "layers: [base]\nentrypoint: [/web]\n" + c.image
			images(t, files)
			d, err := container.Load("images", "s")
			if err != nil {
				t.Fatal(err)
			}
			err = d.Complete(c.wanted, c.versions)
			if c.want == "" {
				if err != nil || d.Images[0].Tag != c.tag {
					t.Errorf("tag %q, %v", d.Images[0].Tag, err)
				}
				return
			}
			if err == nil || err.Error() != c.want || diag.ExitCode(err) != diag.ExitInput {
				t.Errorf("got  %v\nwant %s", err, c.want)
			}
		})
	}
}

// Where there is no kubeadm to ask, an image is of its programs' version.
func TestTagsWithoutKubeadm(t *testing.T) {
	for _, c := range []struct{ name, programs, want string }{
		{"one component", "{component: c, program: a, paths: [a]}, {component: c, program: b, paths: [b]}", "v1.0.0"},
		{"two components", "{component: c, program: a, paths: [a]}, {component: d, program: b, paths: [b]}", ""},
		{"none", "", ""},
	} {
		files := good()
		files["web"] = "layers: [base]\nentrypoint: [/a]\n"
		files["layers/base"] = "programs: [" + c.programs + "]\n"
		images(t, files)
		d, err := container.Load("images", "s")
		if err != nil {
			t.Fatal(err)
		}
		err = d.Complete(nil, map[string]string{"c": "v1.0.0", "d": "v1.0.0"})
		if d.Images[0].Tag != c.want || (err == nil) != (c.want != "") {
			t.Errorf("%s: tag %q, %v", c.name, d.Images[0].Tag, err)
		}
	}
}

// Each set has all that kubeadm asks for, or says that its nodes do without.
func TestTheSets(t *testing.T) {
	wanted := []string{"r/kube-apiserver:v1.37.2", "r/kube-controller-manager:v1.37.2", "r/kube-scheduler:v1.37.2", "r/kube-proxy:v1.37.2", "r/coredns:v1.14.6", "r/pause:3.10.2", "r/etcd:3.7.0-0"}
	versions := map[string]string{"kubernetes": "v1.37.2", "coredns": "v1.14.6", "etcd": "v3.7.0", "flannel": "v0.28.10"}
	for _, set := range []string{"control-plane", "worker", "etcd"} {
		d, err := container.Load("../../images", set)
		if err != nil {
			t.Fatal(err)
		}
		if err := d.Complete(wanted, versions); err != nil {
			t.Errorf("%s: %v", set, err)
		}
		if err := d.Complete(append(wanted, "r/new:v1"), versions); err == nil || !strings.Contains(err.Error(), `"new"`) {
			t.Errorf("%s, if kubeadm wants one more: %v", set, err)
		}
		for i, img := range d.Images {
			if !slices.ContainsFunc(wanted, func(ref string) bool { return strings.HasPrefix(ref, "r/"+img.Name+":") }) {
				continue // ours, not kubeadm's
			}
			without := *d
			without.Images = slices.Delete(slices.Clone(d.Images), i, i+1)
			if err := without.Complete(wanted, versions); err == nil || !strings.Contains(err.Error(), img.Name) {
				t.Errorf("%s without %s: %v", set, img.Name, err)
			}
		}
	}
}

func FuzzLoad(f *testing.F) {
	for _, p := range slices.Sorted(maps.Keys(good())) {
		f.Add(good()["sets/s"], good()["web"], good()[p])
	}
	for _, p := range []string{"proxy", "base", "kubernetes", "coredns"} {
		text, err := os.ReadFile(filepath.Join("../../images/layers", p+".yaml"))
		if err != nil {
			f.Fatal(err)
		}
		f.Add("images: [web]\n", "layers: [base]\nuser: '1:2'\n", string(text))
	}
	f.Fuzz(func(t *testing.T, set, image, layer string) {
		images(t, map[string]string{"sets/s": set, "web": image, "layers/base": layer})
		d, err := container.Load("images", "s")
		if err != nil {
			if diag.ExitCode(err) != diag.ExitInput {
				t.Errorf("status %d: %v", diag.ExitCode(err), err)
			}
			return
		}
		d.Complete([]string{"r/web:v1"}, nil)
		for _, l := range d.Layers {
			if len(l.Programs) > 0 {
				continue
			}
			// What passed the checks can be made, but where paths contradict each other.
			if _, err := l.Tree(container.Sources{Epoch: 1}); err != nil && diag.ExitCode(err) != diag.ExitInput {
				t.Errorf("status %d: %v", diag.ExitCode(err), err)
			}
		}
	})
}
