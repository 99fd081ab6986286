package build

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/slipway-os/slipway/pkg/diag"
	"github.com/slipway-os/slipway/pkg/profile"
)

// What go.mod pins must be what the profile names, and that is known before
// anything is compiled.
func TestTheVersionOfKubernetesIsCheckedFirst(t *testing.T) {
	dir := t.TempDir()
	t.Chdir(dir)
	for name, text := range map[string]string{
		"images/sets/none.yaml":                         "images: []\n",
		"overlays/base/x":                               "",
		"profiles/components/kubernetes/component.yaml": "module: k8s.io/kubernetes\nprograms: [{package: k8s.io/kubernetes/cmd/kubelet}]\n",
		"profiles/components/kubernetes/go.mod":         "module kubernetes\n\ngo 1.26\n\nrequire k8s.io/kubernetes v1.37.2\n",
	} {
		if err := os.MkdirAll(filepath.Dir(name), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(name, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	for _, c := range []struct{ name, kubernetes, want string }{
		{"the same", "{version: v1.37.2, imageRepository: slipway.local}\ncomponents: [kubernetes]\n", ""},
		{"another", "{version: v1.37.1, imageRepository: slipway.local}\ncomponents: [kubernetes]\n", "profiles/p.yaml:1:23: kubernetes.version is v1.37.1, but the component is v1.37.2 (pin it in profiles/components/kubernetes/go.mod)"},
		{"another, of a profile without Kubernetes", "{version: v1.37.1, imageRepository: slipway.local}\n", ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			text := "kubernetes: " + c.kubernetes + "architecture: amd64\nos: {suite: trixie}\nkernel: {package: linux}\nimages: none\noverlays: [base]\ndisk: {boot: 64MiB, root: 64MiB, verity: 1MiB, state: 16MiB}\n"
			if err := os.WriteFile("profiles/p.yaml", []byte(text), 0o644); err != nil {
				t.Fatal(err)
			}
			project := profile.Dir{Root: dir}
			p, err := project.Load("p")
			if err != nil {
				t.Fatal(err)
			}
			err = NewSession(Options{Project: project}).Check(Target{Profile: p, Out: filepath.Join(dir, "out")})
			got := ""
			if err != nil {
				got = err.Error()
			}
			if got != c.want || err != nil && diag.ExitCode(err) != diag.ExitInput {
				t.Errorf("got  %s\nwant %s", got, c.want)
			}
		})
	}
}
