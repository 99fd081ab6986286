package kubeadm

import (
	"bytes"
	"crypto/tls"
	"crypto/x509"
	"encoding/base64"
	"encoding/pem"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"time"

	"go.yaml.in/yaml/v3"

	"github.com/slipway-os/slipway/pkg/durable"
	"github.com/slipway-os/slipway/pkg/pki"
	"github.com/slipway-os/slipway/pkg/role"
)

// LeafValidity is how long kubeadm lets a certificate live that is no authority's.
const LeafValidity = 365 * 24 * time.Hour

// LeafPeriod is how long the certificates of a role live: that of its raw
// ClusterConfiguration, if it gives any.
func LeafPeriod(r *role.Role) time.Duration {
	for _, raw := range r.Kubeadm {
		text, _ := raw["certificateValidityPeriod"].(string)
		if d, err := time.ParseDuration(text); raw["kind"] == "ClusterConfiguration" && err == nil && d > 0 {
			return d
		}
	}
	return LeafValidity
}

// Renewal signs a node's certificates anew that have ended or have less than a
// third of their life left, if the node has their authority's key. It needs no
// API server, which may not start without them.
type Renewal struct {
	PKI         PKI
	Kubeconfigs []string      // files
	Kubelet     string        // file of the kubelet's certificate and its key; empty: none
	Period      time.Duration // how long what is signed anew lives; no longer than it did
}

// KubeletClient is the file in the kubelet's directory of certificates that it
// goes on from.
func KubeletClient(pkiDir string) string { return filepath.Join(pkiDir, currentClient) }

// Renewed is what was done about certificates that end.
type Renewed struct {
	Files  []string // that hold what was signed anew
	Ending []string // what ends soon and cannot be signed here, in words
}

// Run does it. A file is replaced as a whole, by another with the same key; so
// it may be cut off, and run again. One whose certificate is only valid later
// stays as it is, and is a *ClockError: the clock is wrong. What is damaged
// otherwise stays, too, for others to see to.
func (r Renewal) Run(now time.Time) (Renewed, error) {
	a := ager{Renewal: r, now: now, signers: map[string]*pki.Authority{}}
	for _, name := range r.PKI.Authorities {
		a.learn(name)
	}
	leaves := maps.Clone(r.PKI.Leaves)
	if leaves == nil {
		leaves = map[string]string{}
	}
	maps.Copy(leaves, r.PKI.Delivered)
	var errs []error
	look := func(err error) {
		if !errors.Is(err, fs.ErrNotExist) {
			errs = append(errs, err)
		}
	}
	for _, leaf := range slices.Sorted(maps.Keys(leaves)) {
		look(a.leaf(leaf, leaves[leaf]))
	}
	for _, file := range r.Kubeconfigs {
		look(a.kubeconfig(file))
	}
	if r.Kubelet != "" {
		look(a.kubelet())
	}
	return a.done, errors.Join(errs...)
}

// ager is a Renewal that runs.
type ager struct {
	Renewal
	now     time.Time
	signers map[string]*pki.Authority
	done    Renewed
}

// learn takes an authority that can sign. What is wrong with one that cannot,
// Check says.
func (a *ager) learn(name string) {
	files := pairFiles(a.PKI.Dir, name)
	public, publicErr := os.ReadFile(files[0])
	key, keyErr := os.ReadFile(files[1])
	if publicErr != nil || keyErr != nil {
		return
	}
	signer, err := pki.ReadAuthority(pki.Pair{Public: public, Key: key})
	if err != nil {
		return
	}
	cert := signer.Certificate
	if a.now.Before(cert.NotBefore) || a.now.After(cert.NotAfter) {
		return
	}
	a.signers[name] = signer
	if _, soon := a.due(cert); soon {
		a.done.Ending = append(a.done.Ending, fmt.Sprintf("%s ends on %s, and all that it signed with it", files[0], cert.NotAfter.UTC().Format(time.DateTime)))
	}
}

// due says whether a certificate has ended or will soon, and until when another
// would live.
func (a *ager) due(cert *x509.Certificate) (until time.Time, due bool) {
	lives := min(a.Period, cert.NotAfter.Sub(cert.NotBefore))
	return a.now.Add(lives), a.now.After(cert.NotAfter.Add(-lives / 3))
}

func (a *ager) leaf(name, by string) error {
	files := pairFiles(a.PKI.Dir, name)
	cert, err := os.ReadFile(files[0])
	if err != nil {
		return err
	}
	key, err := os.ReadFile(files[1])
	if err != nil {
		return err
	}
	fresh, err := a.fresh(files[0], by, cert, key)
	if err != nil || fresh == nil {
		return err
	}
	return a.replace(files[0], fresh)
}

// kubeconfig renews a certificate that a kubeconfig holds itself.
func (a *ager) kubeconfig(file string) error {
	data, err := os.ReadFile(file)
	if err != nil {
		return err
	}
	var k kubeconfig
	if yaml.Unmarshal(data, &k) != nil || len(k.Users) == 0 {
		return nil
	}
	text := k.Users[0].User.CertData
	cert, certErr := base64.StdEncoding.DecodeString(text)
	key, keyErr := base64.StdEncoding.DecodeString(k.Users[0].User.KeyData)
	if certErr != nil || keyErr != nil {
		return nil
	}
	fresh, err := a.fresh(file, "ca", cert, key)
	if err != nil || fresh == nil {
		return err
	}
	// All else in the file may be somebody's own.
	if n := bytes.Count(data, []byte(text)); n != 1 {
		return fmt.Errorf("replacing the certificate in %s: its text is there %d times, not once", file, n)
	}
	return a.replace(file, bytes.Replace(data, []byte(text), []byte(base64.StdEncoding.EncodeToString(fresh)), 1))
}

// kubelet renews the certificate that the kubelet would renew by itself if it
// ran, and without which it does not start.
func (a *ager) kubelet() error {
	// The name is a link to that of the newest.
	file, err := filepath.EvalSymlinks(a.Kubelet)
	if err != nil {
		return err
	}
	data, err := os.ReadFile(file)
	if err != nil {
		return err
	}
	fresh, err := a.fresh(file, "ca", data, data)
	if err != nil || fresh == nil {
		return err
	}
	return a.replace(file, fresh)
}

// fresh returns PEM data whose first certificate is signed anew; none if that
// is not due, or not possible here.
func (a *ager) fresh(file, by string, cert, key []byte) ([]byte, error) {
	pair, err := tls.X509KeyPair(cert, key)
	if err != nil {
		return nil, nil // damaged: it is no matter of age
	}
	old := pair.Leaf
	if a.now.Before(old.NotBefore) {
		return nil, &ClockError{File: file, From: old.NotBefore, To: old.NotAfter, Now: a.now.UTC()}
	}
	until, due := a.due(old)
	if !due {
		return nil, nil
	}
	if !slices.Contains(a.PKI.Authorities, by) {
		if a.now.Before(old.NotAfter) { // others say what has ended
			a.done.Ending = append(a.done.Ending, fmt.Sprintf("%s ends on %s, and the key that could sign it anew is not on this node: have it signed where that is", file, old.NotAfter.UTC().Format(time.DateTime)))
		}
		return nil, nil
	}
	signer := a.signers[by]
	if signer == nil || old.CheckSignatureFrom(signer.Certificate) != nil {
		return nil, nil
	}
	if end := signer.Certificate.NotAfter; until.After(end) && !end.After(old.NotAfter) {
		return nil, nil // it ends with its authority
	}
	der, err := signer.Renew(old, until)
	if err != nil {
		return nil, fmt.Errorf("renewing %s: %w", file, err)
	}
	return withFirst(cert, der), nil
}

// withFirst returns PEM data with its first certificate replaced.
func withFirst(data, der []byte) []byte {
	var out []byte
	for {
		var b *pem.Block
		if b, data = pem.Decode(data); b == nil {
			return out
		}
		if der != nil && b.Type == "CERTIFICATE" {
			b, der = &pem.Block{Type: b.Type, Bytes: der}, nil
		}
		out = append(out, pem.EncodeToMemory(b)...)
	}
}

func (a *ager) replace(file string, data []byte) error {
	info, err := os.Stat(file)
	if err != nil {
		return err
	}
	// What an earlier attempt left may hold a key.
	if err := durable.RemoveUnfinished(file); err != nil {
		return err
	}
	if err := durable.WriteFile(file, data, info.Mode().Perm()); err != nil {
		return err
	}
	a.done.Files = append(a.done.Files, file)
	return nil
}
