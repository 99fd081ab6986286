package kubeadm

import (
	"fmt"
	"os"
	"path/filepath"
	"time"

	"github.com/slipway-os/slipway/pkg/durable"
	"github.com/slipway-os/slipway/pkg/pki"
	"github.com/slipway-os/slipway/pkg/role"
)

// AuthorityNames are the common names that kubeadm gives the authorities.
func AuthorityNames() map[string]string {
	return map[string]string{"ca": "kubernetes", "etcd/ca": "etcd-ca", "front-proxy-ca": "front-proxy-ca"}
}

// AuthorityValidity is how long kubeadm lets an authority live.
const AuthorityValidity = 10 * 365 * 24 * time.Hour

// Make makes those authorities, and the key pair of service accounts, of which nothing is there yet. It does what the phases
// "certs ca" and so on do, without starting kubeadm four times, and leaves each
// file whole or not there. Algorithm and validity are those of the role's raw
// ClusterConfiguration, if it gives any.
func (p PKI) Make(r *role.Role, now time.Time) error {
	algorithm, validity := pki.DefaultAlgorithm, AuthorityValidity
	for _, raw := range r.Kubeadm {
		if raw["kind"] != "ClusterConfiguration" {
			continue
		}
		if v, ok := raw["encryptionAlgorithm"].(string); ok && v != "" {
			algorithm = pki.Algorithm(v)
		}
		if v, ok := raw["caCertificateValidityPeriod"].(string); ok && v != "" {
			var err error
			if validity, err = time.ParseDuration(v); err != nil {
				return fmt.Errorf("reading caCertificateValidityPeriod: %w", err)
			}
		}
	}
	for _, a := range p.Authorities {
		if anyExists(pairFiles(p.Dir, a)) {
			continue
		}
		pair, err := pki.NewAuthority(AuthorityNames()[a], algorithm, now, validity)
		if err != nil {
			return err
		}
		if err := writePair(filepath.Join(p.Dir, a+".key"), filepath.Join(p.Dir, a+".crt"), pair); err != nil {
			return err
		}
	}
	if !p.Accounts || anyExists(accountFiles(p.Dir)) {
		return nil
	}
	pair, err := pki.NewServiceAccountKey(algorithm)
	if err != nil {
		return err
	}
	return writePair(filepath.Join(p.Dir, "sa.key"), filepath.Join(p.Dir, "sa.pub"), pair)
}

// writePair writes the key last: a key without its certificate would be taken
// for damage, a certificate alone for an external authority.
func writePair(key, public string, p pki.Pair) error {
	if err := os.MkdirAll(filepath.Dir(key), 0o755); err != nil {
		return err
	}
	if err := durable.WriteFile(public, p.Public, 0o644); err != nil {
		return err
	}
	return durable.WriteFile(key, p.Key, 0o600)
}

// SharesCertificates says whether the role gives the key under which other
// control planes fetch the shared certificates; nobody could read them else.
func SharesCertificates(r *role.Role) bool {
	for _, raw := range r.Kubeadm {
		if key, given := raw["certificateKey"]; given && key != "" && raw["kind"] == "InitConfiguration" {
			return true
		}
	}
	return false
}

// Disabled says whether the role wants an add-on of kubeadm's not to be there:
// proxy or dns.
func Disabled(r *role.Role, addon string) bool {
	for _, raw := range r.Kubeadm {
		if fields, _ := raw[addon].(map[string]any); raw["kind"] == "ClusterConfiguration" && fields["disabled"] == true {
			return true
		}
	}
	return false
}
