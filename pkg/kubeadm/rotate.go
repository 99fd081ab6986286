package kubeadm

import (
	"crypto/tls"
	"encoding/base64"
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"go.yaml.in/yaml/v3"

	"github.com/slipway-os/slipway/pkg/durable"
)

// The kubelet keeps its client certificate under these names and goes on from
// there when it rotates it (Kubernetes, "Configure Certificate Rotation for the Kubelet").
const (
	currentClient = "kubelet-client-current.pem"
	firstClient   = "kubelet-client-first.pem"
)

// CheckKubeletClient says what is wrong with the certificate by which the kubelet
// is let into its cluster, a *ClockError if it has ended.
func CheckKubeletClient(pkiDir string) error {
	file := filepath.Join(pkiDir, currentClient)
	pair, err := tls.LoadX509KeyPair(file, file)
	if err != nil {
		return err
	}
	return valid(file, pair.Leaf)
}

// LetKubeletRotate moves the client certificate that kubeadm embeds into the
// kubelet's kubeconfig to the directory where the kubelet rotates it. kubeadm
// does it with its phase kubelet-finalize, once the kubelet has run for a
// while, and has to start it again; here it is done before the first start.
// It may be called again.
func LetKubeletRotate(config, pkiDir string) error {
	file := filepath.Join(config, "kubelet.conf")
	data, err := os.ReadFile(file)
	if err != nil {
		return err
	}
	var doc object
	if yaml.Unmarshal(data, &doc) != nil { // the parser's own words could quote the key
		return fmt.Errorf("%s is damaged", file)
	}
	users, _ := doc["users"].([]any)
	if len(users) != 1 {
		return fmt.Errorf("%s names %d users, not one", file, len(users))
	}
	entry, _ := users[0].(object)
	user, _ := entry["user"].(object)
	certData, _ := user["client-certificate-data"].(string)
	keyData, _ := user["client-key-data"].(string)
	if certData == "" && keyData == "" {
		return nil
	}
	cert, certErr := base64.StdEncoding.DecodeString(certData)
	key, keyErr := base64.StdEncoding.DecodeString(keyData)
	if errors.Join(certErr, keyErr) != nil {
		return fmt.Errorf("the credentials in %s are damaged", file)
	}
	if err := os.MkdirAll(pkiDir, 0o755); err != nil {
		return err
	}
	if err := durable.WriteFile(filepath.Join(pkiDir, firstClient), append(cert, key...), 0o600); err != nil {
		return err
	}
	current := filepath.Join(pkiDir, currentClient)
	if err := os.Remove(current); err != nil && !errors.Is(err, os.ErrNotExist) {
		return err
	}
	if err := os.Symlink(firstClient, current); err != nil {
		return err
	}
	if err := durable.SyncDir(pkiDir); err != nil {
		return err
	}
	entry["user"] = object{"client-certificate": current, "client-key": current}
	out, err := yaml.Marshal(doc)
	if err != nil {
		return fmt.Errorf("writing %s: %w", file, err)
	}
	return durable.WriteFile(file, out, 0o600)
}
