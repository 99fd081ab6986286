package kubeadm

import (
	"fmt"
	"os"
	"time"

	"go.yaml.in/yaml/v3"

	"github.com/slipway-os/slipway/pkg/durable"
)

// renewedAnnotation says when the credentials of a static pod were renewed.
const renewedAnnotation = "slipway.local/credentials-renewed"

// EmbeddedClients are the kubeconfigs that static pods read at their start
// only, and by which: client-go reads again what it is given by name, not what
// a kubeconfig holds itself.
func EmbeddedClients() map[string]string {
	return map[string]string{"controller-manager.conf": "kube-controller-manager", "scheduler.conf": "kube-scheduler"}
}

// RestartPod has the kubelet start a static pod anew, now or when the kubelet
// runs: a manifest that says something else is another pod. The file is
// replaced as a whole.
func RestartPod(manifest string, now time.Time) error {
	data, err := os.ReadFile(manifest)
	if err != nil {
		return err
	}
	var doc object
	if yaml.Unmarshal(data, &doc) != nil {
		return fmt.Errorf("%s is damaged", manifest)
	}
	metadata, ok := doc["metadata"].(object)
	if !ok {
		return fmt.Errorf("%s is no pod's", manifest)
	}
	annotations, ok := metadata["annotations"].(object)
	if !ok {
		annotations = object{}
	}
	annotations[renewedAnnotation] = now.UTC().Format(time.RFC3339)
	metadata["annotations"] = annotations
	out, err := yaml.Marshal(doc)
	if err != nil {
		return fmt.Errorf("writing %s: %w", manifest, err)
	}
	return durable.WriteFile(manifest, out, 0o600)
}
