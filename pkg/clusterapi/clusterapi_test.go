package clusterapi_test

import (
	"bytes"
	"compress/gzip"
	"encoding/base64"
	"encoding/json"
	"errors"
	"flag"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/coreos/ignition/v2/config/v3_6/types"

	"github.com/slipway-os/slipway/pkg/clusterapi"
	"github.com/slipway-os/slipway/pkg/ignition"
	"github.com/slipway-os/slipway/pkg/kubeadm"
	"github.com/slipway-os/slipway/pkg/kubeadm/kubeadmtest"
	"github.com/slipway-os/slipway/pkg/manifest"
	"github.com/slipway-os/slipway/pkg/provision"
	"github.com/slipway-os/slipway/pkg/role"
)

var update = flag.Bool("update", false, "write the golden files anew; look at the difference before you keep it")

func all(string) bool { return true }

// machine is one that runs an image of everything, and knows a few names.
func machine() clusterapi.Machine {
	return clusterapi.Machine{
		Metadata: func() (map[string]string, error) {
			return map[string]string{"local_hostname": "node-1.example.net", "hostname": "node-1", "instance_id": "i-0123", "strange": "a: b"}, nil
		},
		Image: &manifest.Image{Profile: "test", KubernetesVersion: "v1.37.2", ImageRepository: "slipway.local", Images: []string{"slipway.local/flannel:1"}, Roles: []string{role.ControlPlane, role.Worker}},
		Has:   all,
	}
}

func read(t testing.TB, name string) string {
	t.Helper()
	data, err := os.ReadFile(filepath.Join("testdata", name))
	if err != nil {
		t.Fatal(err)
	}
	return string(data)
}

func golden(t *testing.T, name string, got []byte) {
	t.Helper()
	if *update {
		if err := os.WriteFile(filepath.Join("testdata", name), got, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	if want := read(t, name); string(got) != want {
		t.Errorf("testdata/%s differs; got\n%s", name, got)
	}
}

func translate(t *testing.T, data string) (*clusterapi.Translation, types.Config) {
	t.Helper()
	tr, err := clusterapi.Translate("user-data", []byte(data), machine())
	if err != nil {
		t.Fatal(err)
	}
	var c types.Config
	if err := json.Unmarshal(tr.Config, &c); err != nil {
		t.Fatal(err)
	}
	return tr, c
}

// What the kubeadm bootstrap provider writes for the first control plane, for
// one that joins and for a worker, in both of its formats.
func TestTranslate(t *testing.T) {
	for _, name := range []string{
		"init.cloud-config", "join-control-plane.cloud-config", "join-worker.cloud-config",
		"init.ign2.json", "join-control-plane.ign2.json", "join-worker.ign2.json",
	} {
		t.Run(name, func(t *testing.T) {
			tr, _ := translate(t, read(t, name))
			golden(t, name+".role.yaml", tr.RoleFile)
			var config bytes.Buffer
			if err := json.Indent(&config, tr.Config, "", "  "); err != nil {
				t.Fatal(err)
			}
			golden(t, name+".golden.ign", config.Bytes())
			// Ignition itself judges the config.
			if err := provision.Validate(tr.Config, all); err != nil {
				t.Error(err)
			}
			// The node reads the role as a file.
			r, err := role.Parse("role.yaml", tr.RoleFile)
			if err != nil {
				t.Fatal(err)
			}
			t.Run("kubeadm config validate", func(t *testing.T) { validate(t, r) })
		})
	}
}

// validate lets the real kubeadm read what the node would write for it.
func validate(t *testing.T, r *role.Role) {
	program := kubeadmtest.Program(t)
	pinned, err := kubeadm.NewPinned("node-1", "192.0.2.10")
	if err != nil {
		t.Fatal(err)
	}
	config, err := kubeadm.Config(r, *machine().Image, pinned, kubeadm.CredentialsFile)
	if err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(t.TempDir(), "kubeadm.yaml")
	if err := os.WriteFile(file, config, 0o600); err != nil {
		t.Fatal(err)
	}
	out, err := exec.CommandContext(t.Context(), program, "config", "validate", "--config", file).CombinedOutput()
	if err != nil || bytes.Contains(out, []byte("\nW")) || bytes.HasPrefix(out, []byte("W")) {
		t.Errorf("%v: %s", err, out)
	}
}

// pack compresses by gzip.
func pack(t *testing.T, text string) string {
	t.Helper()
	var packed bytes.Buffer
	z := gzip.NewWriter(&packed)
	_, err := z.Write([]byte(text))
	if err := errors.Join(err, z.Close()); err != nil {
		t.Fatal(err)
	}
	return packed.String()
}

func TestCompressedIsTheSame(t *testing.T) {
	for _, name := range []string{"init.cloud-config", "init.ign2.json"} {
		plain := read(t, name)
		want, _ := translate(t, plain)
		if got, _ := translate(t, pack(t, plain)); !bytes.Equal(got.Config, want.Config) {
			t.Errorf("%s: another config", name)
		}
	}
}

// worker is a cloud-config of a worker with more in it.
func worker(more string) string { return workerWith("", "", more) }

func workerWith(files, join, more string) string {
	return "## template: jinja\n#cloud-config\nwrite_files:\n" + files + `-   path: /run/kubeadm/kubeadm-join-config.yaml
    permissions: '0640'
    content: |
      apiVersion: kubeadm.k8s.io/v1beta4
      kind: JoinConfiguration
      discovery:
        bootstrapToken:
          apiServerEndpoint: 192.0.2.1:6443
          caCertHashes: ["sha256:0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef"]
          token: abcdef.0123456789abcdef
` + join + "runcmd:\n  - kubeadm join --config /run/kubeadm/kubeadm-join-config.yaml  && echo success > /run/cluster-api/bootstrap-success.complete\n" + more
}

func content(t *testing.T, c types.Config, path string) string {
	t.Helper()
	for _, f := range c.Storage.Files {
		if f.Path != path {
			continue
		}
		var all strings.Builder
		for _, r := range append([]types.Resource{f.Contents}, f.Append...) {
			if r.Source == nil {
				continue
			}
			data, inline, err := ignition.Inline(*r.Source)
			if err == nil && r.Compression != nil {
				var z *gzip.Reader
				if z, err = gzip.NewReader(bytes.NewReader(data)); err == nil {
					var plain bytes.Buffer
					_, err = plain.ReadFrom(z)
					data = plain.Bytes()
				}
			}
			if err != nil || !inline {
				t.Fatalf("%s: %v", path, err)
			}
			all.Write(data)
		}
		return all.String()
	}
	return "(none)"
}

func TestFiles(t *testing.T) {
	_, c := translate(t, workerWith(`- {path: /etc/a, content: "a\n", encoding: text/plain, owner: "capi:1000", permissions: "0600"}
- {path: /etc/b, content: Yg==, encoding: b64}
- {path: /etc/c, content: `+base64.StdEncoding.EncodeToString([]byte(pack(t, "c\n")))+`, encoding: gz+b64}
- {path: /etc/d, content: "1\n"}
- {path: /etc/d, content: "2\n"}
- {path: /etc/d, content: "3\n", append: true, defer: true}
- {path: /etc//hosts, content: "192.0.2.9 x\n", append: true}
- {path: /etc/slipway/role.yaml, content: "cluster: {podNetwork: {backend: host-gw}}"}
`, "", "hostname: named\n"))
	for path, want := range map[string]string{
		"/etc/a": "a\n", "/etc/b": "b", "/etc/c": "c\n", "/etc/d": "2\n3\n", "/etc/hosts": "192.0.2.9 x\n", "/etc/hostname": "named\n",
		"/run/kubeadm/kubeadm-join-config.yaml": "(none)", "/etc/slipway/cluster-api/before.sh": "(none)",
	} {
		if got := content(t, c, path); got != want {
			t.Errorf("%s: got %q, want %q", path, got, want)
		}
	}
	if got := content(t, c, role.File); !strings.Contains(got, "backend: host-gw\n") {
		t.Errorf("role:\n%s", got)
	}
	for _, f := range c.Storage.Files {
		switch f.Path {
		case "/etc/a":
			if *f.Mode != 0o600 || *f.User.Name != "capi" || *f.Group.ID != 1000 {
				t.Errorf("got %+v", f.Node)
			}
		case "/etc/hosts":
			if f.Overwrite != nil || f.Contents.Source != nil {
				t.Error("what is there would not stay")
			}
		}
	}
}

// Commands run in a shell: cloud-init goes on after one that fails, the
// provider's script for Ignition does not.
func TestCommands(t *testing.T) {
	run := func(script string) string {
		t.Helper()
		name := filepath.Join(t.TempDir(), "script")
		if err := os.WriteFile(name, []byte(script), 0o700); err != nil {
			t.Fatal(err)
		}
		out, err := exec.CommandContext(t.Context(), name).Output()
		if err != nil {
			return string(out) + err.Error()
		}
		return string(out)
	}
	cloud := strings.Replace(worker("  - echo after\n"), "runcmd:\n", "runcmd:\n  - echo one\n  - \"false\"\n  - [echo, \"it's\", \"$HOME\", 2]\n", 1)
	_, c := translate(t, cloud)
	if got := run(content(t, c, "/etc/slipway/cluster-api/before.sh")); got != "one\nit's $HOME 2\n" {
		t.Errorf("before: %q", got)
	}
	if got := run(content(t, c, "/etc/slipway/cluster-api/after.sh")); got != "after\n" {
		t.Errorf("after: %q", got)
	}
	strict := strings.Replace(read(t, "init.ign2.json"), "sysctl%20--system", "echo%20one%0Afalse", 1)
	_, c = translate(t, strict)
	if got := run(content(t, c, "/etc/slipway/cluster-api/before.sh")); got != "one\nexit status 1" {
		t.Errorf("strict: %q", got)
	}
}

// The machine has the name that kubeadm's configuration says, else that of the
// user data, else that of its platform.
func TestHostName(t *testing.T) {
	named := workerWith("", "      nodeRegistration: {name: worker-7}\n", "")
	for want, data := range map[string]string{"worker-7": named, "said": worker("hostname: said\n"), "node-1.example.net": worker("")} {
		if _, c := translate(t, data); content(t, c, "/etc/hostname") != want+"\n" {
			t.Errorf("got %q, want %q", content(t, c, "/etc/hostname"), want)
		}
	}
}

func TestForeign(t *testing.T) {
	for name, data := range map[string]string{
		"empty": "", "an Ignition config of today": `{"ignition": {"version": "3.4.0"}}`, "broken JSON": `{"ignition": `, "YAML": "a: b\n",
		"a large Ignition config of today": `{"ignition": {"version": "3.4.0"}}` + strings.Repeat(" ", 4<<20),
	} {
		if _, err := clusterapi.Translate("x", []byte(data), machine()); !errors.Is(err, clusterapi.ErrForeign) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// Nobody is asked for metadata that nothing needs twice.
func TestMetadataIsAskedOnce(t *testing.T) {
	m, asked := machine(), 0
	known := m.Metadata
	m.Metadata = func() (map[string]string, error) { asked++; return known() }
	if _, err := clusterapi.Translate("x", []byte(read(t, "init.cloud-config")), m); err != nil || asked != 1 {
		t.Errorf("asked %d times, %v", asked, err)
	}
	m.Metadata = func() (map[string]string, error) { return nil, errors.New("damaged drive") }
	if _, err := clusterapi.Translate("x", []byte(worker("")), m); err == nil || err.Error() != "x: damaged drive" {
		t.Errorf("damaged metadata: %v", err)
	}
}

// A machine may find its cluster by a file that the user data lays down.
func TestDiscoveryByAFile(t *testing.T) {
	in := strings.Replace(worker(""), `        bootstrapToken:
          apiServerEndpoint: 192.0.2.1:6443
          caCertHashes: ["sha256:0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef"]
          token: abcdef.0123456789abcdef
`, "        file: {kubeConfigPath: /etc/discovery.conf}\n        tlsBootstrapToken: abcdef.0123456789abcdef\n", 1)
	result, _ := translate(t, in)
	r, err := role.Parse("role.yaml", result.RoleFile)
	if err != nil {
		t.Fatal(err)
	}
	if r.Join.DiscoveryFile != "/etc/discovery.conf" || r.Join.Token != "abcdef.0123456789abcdef" {
		t.Errorf("joins by %+v", r.Join)
	}
}
