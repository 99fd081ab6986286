package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"filippo.io/age"

	"github.com/slipway-os/slipway/pkg/diag"
	"github.com/slipway-os/slipway/pkg/pki"
)

const goodCluster = `version: 1
name: demo
cluster: {endpoint: cp.example.net}
nodes:
  - {name: cp1, role: control-plane, select: {mac: "52:54:00:00:00:01"}}
  - {name: w1, role: worker}
`

func TestClusterFromNothingToConfigs(t *testing.T) {
	out, err := builder(t, map[string]string{"c.yaml": goodCluster}, "cluster", "check", "c.yaml")
	if want := "c.yaml: fine: cluster \"demo\", 2 nodes\n"; err != nil || out != want {
		t.Fatalf("got  %s%v\nwant %s", out, err, want)
	}
	out, err = again(t, "cluster", "new", "--name", "demo", "--out", "s.yaml")
	if want := "s.yaml: the secrets of cluster \"demo\", not encrypted; nobody can make them again: keep a copy\n"; err != nil || out != want {
		t.Fatalf("got  %s%v\nwant %s", out, err, want)
	}
	private(t, "s.yaml")
	secret, err := os.ReadFile("s.yaml")
	if err != nil {
		t.Fatal(err)
	}
	_, err = again(t, "cluster", "new", "--name", "demo", "--out", "s.yaml")
	if kept, readErr := os.ReadFile("s.yaml"); err == nil || diag.ExitCode(err) != diag.ExitInput || readErr != nil || !bytes.Equal(kept, secret) {
		t.Errorf("the second time: %v", err)
	}

	render := []string{"cluster", "render", "c.yaml", "--secrets", "s.yaml", "--out", "out", "--admin", "admin.conf"}
	for _, c := range []struct {
		name, want string
		args       []string
	}{
		{"dry", "cp1: new\nw1: new\nout: 2 new, 0 changed, 0 unchanged; nothing was written\n", append(render, "--dry-run")},
		{"first", "out: 2 new, 0 changed, 0 unchanged\n", render},
		{"second", "out: 0 new, 0 changed, 2 unchanged\n", render},
	} {
		out, err := again(t, c.args...)
		if err != nil || out != c.want {
			t.Errorf("%s:\ngot  %s%v\nwant %s", c.name, out, err, c.want)
		}
		if _, err := os.Stat("out"); c.name == "dry" && err == nil {
			t.Error("a dry run wrote something")
		}
	}
	private(t, "admin.conf")
	for _, name := range []string{"out/cp1.ign", "out/w1.ign"} {
		private(t, name)
		if data, err := os.ReadFile(name); err != nil || !json.Valid(data) {
			t.Errorf("%s is no JSON: %v", name, err)
		}
	}
	if err := os.WriteFile("c.yaml", []byte(strings.Replace(goodCluster, "w1", "w2", 1)+"controlPlanes: {certSANs: [api.example.net]}\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	out, err = again(t, append(render, "--dry-run")...)
	const want = "cp1: changed: /etc/slipway/role.yaml (certSANs)\nw2: new\nout/w1.ign is the config of no node of this cluster: remove it if its node is gone\nout: 1 new, 1 changed, 0 unchanged; nothing was written\n"
	if err != nil || out != want {
		t.Errorf("got  %s%v\nwant %s", out, err, want)
	}
}

func TestClusterCommandsRefuse(t *testing.T) {
	files := map[string]string{
		"c.yaml":     goodCluster,
		"other.yaml": strings.Replace(goodCluster, "demo", "other", 1),
		"bad.yaml":   strings.Replace(goodCluster, "worker", "workre", 1),
		"text":       "hunter2",
	}
	if _, err := builder(t, files, "cluster", "new", "--name", "demo", "--out", "s.yaml"); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct{ args, want string }{
		{"check none.yaml", `reading the description of a cluster: open none.yaml: no such file or directory`},
		{"check bad.yaml", `bad.yaml:6:22: unknown role "workre" (did you mean "worker"?)`},
		{"render c.yaml --out out", `--secrets and --out must be given; see 'builder cluster render --help'`},
		{"render c.yaml --secrets none --out out", `none: no such file; the secrets of a cluster that runs cannot be made again: take your copy ('builder cluster new' makes secrets that start another cluster)`},
		{"render c.yaml --secrets text --out out", `text:1:1: not a file of secrets of version 1, which this program knows (take your copy: it cannot be made again)`},
		{"render other.yaml --secrets s.yaml --out out", `other.yaml:2:7: the cluster is "other", but the secrets are those of "demo" (take the secrets of this cluster)`},
		{"render c.yaml --secrets s.yaml --out out --butane none", `reading Butane file: open none: no such file or directory`},
		{"new --out n.yaml", `--name must be given; see 'builder cluster new --help'`},
		{"new --name A --out n.yaml", `the name of the cluster must be a DNS label (lower-case letters, digits and hyphens), not "A"`},
		{"new --name a --algorithm DSA --out n.yaml", `--algorithm "DSA": ECDSA-P256, ECDSA-P384, RSA-2048, RSA-3072 or RSA-4096`},
		{"new --name a --ca-key text --out n.yaml", `--ca-cert and --ca-key go together (without the key, the authority is one that signs elsewhere: --external-ca)`},
		{"new --name a --external-ca --out n.yaml", `--external-ca: give the certificate of the authority that signs elsewhere, without a key: --ca-cert`},
		{"new --name a --ca-cert text --ca-key text --out n.yaml", `reading authority "ca": the certificate's file holds no certificate in PEM`},
		{"new --name a --sa-key text --out n.yaml", `reading the key of service accounts: its file holds no private key in PEM`},
		{"new --name a --age-recipient hunter2 --out n.yaml", `an age recipient begins with age1; what was given is none (give the line that age-keygen prints as the public key)`},
		{"new demo", `unexpected argument "demo" (did you mean "--name demo"?); see 'builder cluster new --help'`},
		{"rendr", `unknown command "rendr" for "builder cluster" (did you mean "render"?); see 'builder cluster --help'`},
	} {
		_, err := again(t, append([]string{"cluster"}, strings.Fields(c.args)...)...)
		if err == nil || err.Error() != c.want || diag.ExitCode(err) != diag.ExitInput {
			t.Errorf("%s:\ngot  %v (status %d)\nwant %s", c.args, err, diag.ExitCode(err), c.want)
		}
	}
	for _, name := range []string{"n.yaml", "out"} {
		if _, err := os.Stat(name); err == nil {
			t.Errorf("%s was written", name)
		}
	}
}

func TestClusterSecretsUnderAge(t *testing.T) {
	id, err := age.GenerateX25519Identity()
	if err != nil {
		t.Fatal(err)
	}
	files := map[string]string{"c.yaml": goodCluster, "key.txt": id.String() + "\n"}
	if _, err := builder(t, files, "cluster", "new", "--name", "demo", "--age-recipient", id.Recipient().String(), "--out", "s.age"); err != nil {
		t.Fatal(err)
	}
	render := []string{"cluster", "render", "c.yaml", "--secrets", "s.age", "--out", "out"}
	_, err = again(t, render...)
	if want := "s.age: the secrets are encrypted with age (give --identity)"; err == nil || err.Error() != want {
		t.Errorf("got  %v\nwant %s", err, want)
	}
	if _, err := again(t, append(render, "--identity", "key.txt")...); err != nil {
		t.Error(err)
	}
}

func TestClusterWarnings(t *testing.T) {
	text := goodCluster + "  - {name: cp2, role: control-plane}\n"
	if _, err := builder(t, map[string]string{"c.yaml": text}, "cluster", "new", "--name", "demo", "--out", "s.yaml"); err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod("s.yaml", 0o644); err != nil {
		t.Fatal(err)
	}
	out, err := again(t, "cluster", "render", "c.yaml", "--secrets", "s.yaml", "--out", "out", "--dry-run")
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{
		"warning: c.yaml:5:3: 2 control planes, whose etcd stands the loss of no more of them than that of 1 (an odd number)\n",
		"warning: s.yaml: others can read the secrets of the cluster (chmod 600)\n",
	} {
		if !strings.Contains(out, want) {
			t.Errorf("%q is not in %q", want, out)
		}
	}
}

func TestClusterSchema(t *testing.T) {
	out, err := builder(t, nil, "cluster", "schema")
	if err != nil || !json.Valid([]byte(out)) {
		t.Errorf("%v: %s", err, out)
	}
}

// Whatever a command is told, it leaves no file behind that is not whole.
func TestClusterLeavesNothingHalfWritten(t *testing.T) {
	if _, err := builder(t, map[string]string{"c.yaml": goodCluster, "out": "a file"}, "cluster", "new", "--name", "demo", "--out", "s.yaml"); err != nil {
		t.Fatal(err)
	}
	for file, want := range map[string]int{"out": diag.ExitInput, "admin": diag.ExitIO} {
		args := []string{"cluster", "render", "c.yaml", "--secrets", "s.yaml", "--out", file}
		if file == "admin" { // which would lie in a file
			args = append(args[:5], "--out", "configs", "--admin", "out/admin.conf")
		}
		if _, err := again(t, args...); diag.ExitCode(err) != want {
			t.Errorf("%s: status %d: %v", file, diag.ExitCode(err), err)
		}
	}
	left, err := filepath.Glob(".*")
	if err != nil || len(left) > 0 {
		t.Errorf("left %q: %v", left, err)
	}
}

func TestClusterWithAnAuthorityElsewhere(t *testing.T) {
	ca, err := pki.NewAuthority("elsewhere", pki.DefaultAlgorithm, time.Now(), time.Hour)
	if err != nil {
		t.Fatal(err)
	}
	files := map[string]string{"ca.crt": string(ca.Public), "c.yaml": `version: 1
name: demo
cluster: {endpoint: cp.example.net}
nodes:
  - {name: cp1, role: control-plane, ip: 192.0.2.1}
  - {name: e1, role: etcd, ip: 192.0.2.2}
`}
	if _, err := builder(t, files, "cluster", "new", "--name", "demo", "--external-ca", "--ca-cert", "ca.crt", "--out", "s.yaml"); err != nil {
		t.Fatal(err)
	}
	out, err := again(t, "cluster", "render", "c.yaml", "--secrets", "s.yaml", "--out", "out")
	const want = "cp1 was not rendered: nobody has signed apiserver, apiserver-kubelet-client, admin.conf, super-admin.conf, controller-manager.conf, scheduler.conf, kubelet.conf (sign the requests in out/requests/cp1, and give --signed)"
	if err == nil || err.Error() != want || diag.ExitCode(err) != diag.ExitInput {
		t.Errorf("got  %v (status %d)\nwant %s", err, diag.ExitCode(err), want)
	}
	if want := "out: 1 new, 0 changed, 0 unchanged, 1 unsigned\n"; out != want {
		t.Errorf("got  %swant %s", out, want)
	}
	private(t, "out/e1.ign")
	for name, there := range map[string]bool{"out/cp1.ign": false, "out/requests/cp1/apiserver.csr": true, "out/index.json": true} {
		if _, err := os.Stat(name); (err == nil) != there {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestClusterCheckAsJSON(t *testing.T) {
	const nodes = "version: 1\nname: demo\ncluster: {endpoint: cp}\nnodes: [{name: a, role: control-plane}, {name: b, role: %s}]\n"
	for _, c := range []struct {
		role               string
		fine               bool
		problems, warnings int
	}{{"worker", true, 0, 0}, {"control-plane", true, 0, 1}, {"wroker", false, 1, 0}} {
		out, err := builder(t, map[string]string{"c.yaml": fmt.Sprintf(nodes, c.role)}, "cluster", "check", "c.yaml", "--output", "json")
		if (err == nil) != c.fine || err != nil && diag.ExitCode(err) != diag.ExitInput {
			t.Errorf("%s: %v", c.role, err)
		}
		var v clusterVerdict
		if err := json.Unmarshal([]byte(out), &v); err != nil {
			t.Fatalf("%v: %s", err, out)
		}
		if v.Fine != c.fine || len(v.Problems) != c.problems || len(v.Warnings) != c.warnings {
			t.Errorf("%s: %+v", c.role, v)
		}
		if c.problems > 0 && (v.Problems[0].Line != 4 || v.Problems[0].Hint == "") {
			t.Errorf("%s: %+v", c.role, v.Problems[0])
		}
	}
}
