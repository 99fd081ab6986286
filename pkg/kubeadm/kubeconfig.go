package kubeadm

import (
	"bytes"
	"crypto/tls"
	"crypto/x509"
	"encoding/base64"
	"encoding/pem"
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"go.yaml.in/yaml/v3"
)

// Kubeconfigs are the kubeconfigs that kubeadm writes below ConfigDir on a
// control plane: one that joins a cluster is not given the key to everything,
// and its kubelet gets its own from the cluster.
func Kubeconfigs(join bool) []string {
	if join {
		return []string{"admin.conf", "controller-manager.conf", "scheduler.conf"}
	}
	return []string{"admin.conf", "super-admin.conf", "controller-manager.conf", "scheduler.conf", "kubelet.conf"}
}

// ConfigDir is where kubeadm keeps kubeconfigs.
const ConfigDir = "/etc/kubernetes"

// kubeconfig is the part of a kubeconfig that can be damaged.
type kubeconfig struct {
	Clusters []struct {
		Cluster struct {
			CAData string `yaml:"certificate-authority-data"`
		} `yaml:"cluster"`
	} `yaml:"clusters"`
	Users []struct {
		User struct {
			CertData string `yaml:"client-certificate-data"`
			KeyData  string `yaml:"client-key-data"`
			CertFile string `yaml:"client-certificate"`
			KeyFile  string `yaml:"client-key"`
		} `yaml:"user"`
	} `yaml:"users"`
}

// DropDamagedKubeconfigs removes kubeconfigs of those names below dir whose credentials
// cannot be used, with the authorities below pki: kubeadm makes missing ones
// again, and stops at damaged ones. It returns the names of those that are
// to be made, the missing ones among them. A kubeconfig that carries no client
// certificate, which somebody must have written, stays, and so does one that is
// out of date (see DropDamagedLeaves).
func DropDamagedKubeconfigs(dir, pki string, names []string) ([]string, error) {
	ca, err := authority(pki, "ca")
	if err != nil {
		return nil, err
	}
	var dropped []string
	for _, name := range names {
		file := filepath.Join(dir, name)
		also, problem := checkKubeconfig(file, ca)
		if problem == nil || outOfDate(problem) {
			continue
		}
		files := []string{file}
		if also != "" {
			files = append(files, also)
		}
		if err := drop(problem, files); err != nil {
			return dropped, err
		}
		dropped = append(dropped, name)
	}
	return dropped, nil
}

// CheckKubeconfigs checks kubeconfigs below dir that were signed elsewhere, by
// the authority whose certificate is below pki.
func CheckKubeconfigs(dir, pki string, names []string) error {
	ca, err := readCertificate(filepath.Join(pki, "ca.crt"))
	if err != nil {
		return err
	}
	var problems []error
	for _, name := range names {
		_, err := checkKubeconfig(filepath.Join(dir, name), ca)
		problems = append(problems, err)
	}
	return errors.Join(problems...)
}

// checkKubeconfig says what is wrong with a kubeconfig, and which other file
// must go with it: the kubelet goes on from its certificate by itself.
func checkKubeconfig(file string, ca *x509.Certificate) (also string, err error) {
	data, err := os.ReadFile(file)
	if err != nil {
		return "", err
	}
	var k kubeconfig
	// The parser's own words could quote a key.
	if yaml.Unmarshal(data, &k) != nil || len(k.Clusters) == 0 || len(k.Users) == 0 {
		return "", fmt.Errorf("%s is empty or damaged", file)
	}
	if text := k.Clusters[0].Cluster.CAData; text != "" && !holds(text, ca) {
		return "", fmt.Errorf("%s is of another cluster, or damaged", file)
	}
	u := k.Users[0].User
	if u.CertFile != "" {
		cert, certErr := os.ReadFile(u.CertFile)
		key, keyErr := os.ReadFile(u.KeyFile)
		if err := errors.Join(certErr, keyErr); err != nil {
			return "", err
		}
		return u.CertFile, checkClient(u.CertFile, cert, key, ca)
	}
	if u.CertData == "" && u.KeyData == "" {
		return "", nil
	}
	cert, certErr := base64.StdEncoding.DecodeString(u.CertData)
	key, keyErr := base64.StdEncoding.DecodeString(u.KeyData)
	if certErr != nil || keyErr != nil {
		return "", fmt.Errorf("%s is damaged", file)
	}
	return "", checkClient(file, cert, key, ca)
}

// checkClient checks a client's certificate and key, both PEM.
func checkClient(file string, cert, key []byte, ca *x509.Certificate) error {
	pair, err := tls.X509KeyPair(cert, key)
	if err != nil {
		return fmt.Errorf("the credentials in %s are damaged", file)
	}
	if err := pair.Leaf.CheckSignatureFrom(ca); err != nil {
		return fmt.Errorf("the certificate in %s: %w", file, err)
	}
	return valid(file, pair.Leaf)
}

// holds says whether base64 of PEM holds a certificate.
func holds(text string, cert *x509.Certificate) bool {
	data, err := base64.StdEncoding.DecodeString(text)
	if err != nil {
		return false
	}
	for {
		var b *pem.Block
		if b, data = pem.Decode(data); b == nil {
			return false
		}
		if bytes.Equal(b.Bytes, cert.Raw) {
			return true
		}
	}
}
