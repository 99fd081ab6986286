package configurator

import (
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/slipway-os/slipway/pkg/kubeadm"
	"github.com/slipway-os/slipway/pkg/kubeadm/kubeadmtest"
)

// node is a node whose phases the real kubeadm runs, in a root of its own.
type node struct {
	t       *testing.T
	program string
	root    string
}

func newNode(t *testing.T) *node {
	t.Helper()
	program := kubeadmtest.Program(t)
	if os.Getuid() != 0 {
		t.Skip("needs root: kubeadm changes its root directory")
	}
	n := &node{t, program, newRoot(t, minimal)}
	report, _ := newReport(t)
	c, err := newAt(n.root, report)
	must(t, err)
	pinned, err := kubeadm.NewPinned("cp1", "192.0.2.10")
	must(t, err)
	must(t, c.pin(pinned))
	must(t, c.writeConfig(pinned))
	write(t, n.root, "etc/kubernetes/manifests/kube-vip.yaml", "theirs")
	return n
}

// phase is kubeadm.Phase in the node's root.
func (n *node) phase(ctx context.Context, phase, config string, args ...string) error {
	words := append([]string{"--rootfs", n.root}, strings.Fields(phase)...)
	words = append(append(words, "--config", strings.TrimPrefix(config, n.root)), args...)
	if out, err := exec.CommandContext(ctx, n.program, words...).CombinedOutput(); err != nil {
		return fmt.Errorf("%w: %s", err, out)
	}
	return nil
}

// offline are the steps that need nothing but kubeadm and a disk.
func offline() []string {
	return []string{"authorities", "certificates", "kubeconfigs", "etcd", "control-plane", "managers"}
}

// boot starts the configurator as a boot does, and works up to a step. During
// the last step the power goes where cut says, if there is one.
func (n *node) boot(upTo string, cut func()) (*Configurator, error) {
	n.t.Helper()
	report, _ := newReport(n.t)
	c, err := newAt(n.root, report)
	must(n.t, err)
	c.phase = n.phase
	if err := c.inspect(); err != nil {
		return c, err
	}
	e := newEngine(n.t, n.t.TempDir())
	e.journal = c.journal
	for _, s := range c.steps() {
		if !strings.Contains(" "+strings.Join(offline(), " ")+" ", " "+s.name+" ") {
			continue
		}
		if s.name == upTo && cut != nil {
			run := s.run
			s.run = func(ctx context.Context) error {
				must(n.t, run(ctx))
				cut()
				return errCut
			}
			if err := e.attempt(n.t.Context(), s); !errors.Is(err, errCut) {
				n.t.Fatalf("step %s: %v", s.name, err)
			}
			return c, nil
		}
		ctx, cancel := context.WithTimeout(n.t.Context(), time.Minute)
		err := e.run(ctx, []step{s})
		cancel()
		must(n.t, err)
		if s.name == upTo {
			break
		}
	}
	return c, nil
}

// whole checks that all certificates, keys and kubeconfigs fit together.
func (n *node) whole() {
	n.t.Helper()
	pki := filepath.Join(n.root, kubeadm.PKIDir)
	must(n.t, all(pki).Check())
	if dropped, err := all(pki).DropDamagedLeaves(); err != nil || len(dropped) > 0 {
		n.t.Errorf("leaves %v are not whole, %v", dropped, err)
	}
	if dropped, err := kubeadm.DropDamagedKubeconfigs(filepath.Join(n.root, kubeadm.ConfigDir), pki, kubeadm.Kubeconfigs(false)); err != nil || len(dropped) > 0 {
		n.t.Errorf("kubeconfigs %v are not whole, %v", dropped, err)
	}
	for _, name := range []string{"etcd", "kube-apiserver", "kube-controller-manager", "kube-scheduler"} {
		data, err := os.ReadFile(filepath.Join(n.root, kubeadm.ConfigDir, "manifests", name+".yaml"))
		if err != nil || !strings.Contains(string(data), "kind: Pod") || !strings.Contains(string(data), "image: slipway.local/") {
			n.t.Errorf("manifest %s: %v, %d bytes", name, err, len(data))
		}
	}
	if data, err := os.ReadFile(filepath.Join(n.root, kubeadm.ConfigDir, "manifests/kube-vip.yaml")); err != nil || string(data) != "theirs" {
		n.t.Errorf("the user's own static pod: %q, %v", data, err)
	}
}

// files are all files below the configuration's directory that a phase wrote.
func (n *node) files() []string {
	n.t.Helper()
	var files []string
	must(n.t, filepath.WalkDir(filepath.Join(n.root, kubeadm.ConfigDir), func(name string, d os.DirEntry, err error) error {
		if err == nil && d.Type().IsRegular() && d.Name() != "kube-vip.yaml" {
			files = append(files, name)
		}
		return err
	}))
	return files
}

// kubeadm writes files without syncing them: after a power cut any of those
// that the step wrote may be missing, empty or cut off. The next boot must
// come out whole, and with the authorities of before if they were done.
func TestPowerCutsInKubeadm(t *testing.T) {
	seed := uint64(time.Now().UnixNano())
	t.Logf("seed %d", seed)
	random := rand.New(rand.NewPCG(seed, 0))
	n := newNode(t)
	pki := filepath.Join(n.root, kubeadm.PKIDir)
	settled := ""
	for _, at := range offline() {
		before := map[string]bool{}
		for _, f := range n.files() {
			before[f] = true
		}
		for range 2 {
			_, err := n.boot(at, func() {
				for _, f := range n.files() {
					info, err := os.Stat(f)
					must(t, err)
					switch {
					case before[f] || random.IntN(2) == 0:
					case random.IntN(2) == 0:
						must(t, os.Remove(f))
					default:
						must(t, os.Truncate(f, random.Int64N(info.Size())))
					}
				}
			})
			must(t, err)
		}
		c, err := n.boot(at, nil)
		must(t, err)
		if !c.journal.Done(at) {
			t.Errorf("step %s is not done", at)
		}
		authority, err := all(pki).CAHash()
		must(t, err)
		if settled != "" && authority != settled {
			t.Fatalf("after %s the authority is %s, and was %s", at, authority, settled)
		}
		settled = authority
	}
	n.whole()
}

// The same damage once the steps are done, and the node is Ready: kubeadm
// itself makes again what was dropped.
func TestRepairWithKubeadm(t *testing.T) {
	n := newNode(t)
	c, err := n.boot("managers", nil)
	must(t, err)
	for _, s := range c.steps() {
		if !c.journal.Done(s.name) {
			must(t, c.journal.Begin(s.name))
			must(t, c.journal.End(s.name, 0))
		}
	}
	must(t, c.forgetSecrets())
	before, err := all(filepath.Join(n.root, kubeadm.PKIDir)).CAHash()
	must(t, err)
	for _, file := range []string{"pki/apiserver.key", "pki/etcd/peer.crt", "admin.conf", "kubelet.conf"} {
		must(t, os.Truncate(filepath.Join(n.root, kubeadm.ConfigDir, file), 0))
	}
	report, _ := newReport(t)
	again, err := newAt(n.root, report)
	must(t, err)
	again.phase = n.phase
	must(t, again.inspect())
	must(t, again.needConfig(again.steps()))
	e := newEngine(t, t.TempDir())
	e.journal = again.journal
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	must(t, e.run(ctx, slices.DeleteFunc(again.steps(), func(s step) bool { return s.always })))
	n.whole()
	if now, err := all(filepath.Join(n.root, kubeadm.PKIDir)).CAHash(); err != nil || now != before {
		t.Errorf("the authority was %s and is %s, %v", before, now, err)
	}
}

// A control plane whose authority is kept elsewhere is given what that signed,
// and kubeadm goes on from it.
func TestExternalAuthority(t *testing.T) {
	first := newNode(t)
	_, err := first.boot("kubeconfigs", nil)
	must(t, err)
	for _, file := range first.files() { // what the authority would have signed
		rest := strings.TrimPrefix(file, first.root)
		data, err := os.ReadFile(file)
		must(t, err)
		if filepath.Base(rest) == "kubelet.conf" { // as it is before it is led to the kubelet's own
			pem, err := os.ReadFile(filepath.Join(first.root, kubeletPKI, "kubelet-client-first.pem"))
			must(t, err)
			cert, key, _ := strings.Cut(string(pem), "-----BEGIN EC")
			inline := base64.StdEncoding.EncodeToString
			own := filepath.Join(kubeletPKI, "kubelet-client-current.pem")
			text := strings.ReplaceAll(string(data), first.root, "")
			text = strings.Replace(text, "client-certificate: "+own, "client-certificate-data: "+inline([]byte(cert)), 1)
			data = []byte(strings.Replace(text, "client-key: "+own, "client-key-data: "+inline([]byte("-----BEGIN EC"+key)), 1))
		}
		write(t, first.root, filepath.Join("given", rest), string(data))
	}
	given := filepath.Join(first.root, "given")
	lay := func(t *testing.T, without ...string) *node {
		t.Helper()
		n := newNode(t)
		must(t, os.CopyFS(filepath.Join(n.root, kubeadm.ConfigDir), os.DirFS(filepath.Join(given, kubeadm.ConfigDir))))
		for _, name := range append(without, "pki/ca.key") {
			must(t, os.Remove(filepath.Join(n.root, kubeadm.ConfigDir, name)))
		}
		report, _ := newReport(t)
		c, err := newAt(n.root, report)
		must(t, err)
		p := c.pinned
		c.pinned = kubeadm.Pinned{}
		p.Keyless = c.keyless(kubeadm.NewPKI(c.path(kubeadm.PKIDir), c.role))
		must(t, c.pin(p))
		return n
	}
	before := func(n *node) string {
		t.Helper()
		data, err := os.ReadFile(filepath.Join(n.root, kubeadm.PKIDir, "apiserver.crt"))
		must(t, err)
		return string(data)
	}
	n := lay(t)
	certificate := before(n)
	c, err := n.boot("managers", nil)
	must(t, err)
	if now := before(n); now != certificate {
		t.Error("the API server's certificate is another one")
	}
	if _, err := os.Stat(filepath.Join(n.root, kubeadm.PKIDir, "ca.key")); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("there is a key of the authority: %v", err)
	}
	if got := c.pki(); slices.Contains(got.Authorities, "ca") || got.Delivered["apiserver"] != "ca" || got.Leaves["etcd/peer"] != "etcd/ca" {
		t.Errorf("certificates %+v", got)
	}
	for _, missing := range []string{"pki/apiserver.crt", "pki/apiserver-kubelet-client.key", "admin.conf", "scheduler.conf"} {
		var fatal *FatalError
		if _, err := lay(t, missing).boot("managers", nil); !errors.As(err, &fatal) || !strings.Contains(err.Error(), filepath.Base(missing)) {
			t.Errorf("without %s: %v", missing, err)
		}
	}
}
