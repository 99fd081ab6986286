package kubeadm_test

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"reflect"
	"testing"
	"time"

	"go.yaml.in/yaml/v3"

	"github.com/slipway-os/slipway/pkg/kubeadm"
)

// The manifest says nothing else than before, but when.
func TestRestartPod(t *testing.T) {
	file := filepath.Join(t.TempDir(), "kube-scheduler.yaml")
	when := time.Date(2027, 1, 2, 3, 4, 5, 0, time.UTC)
	for _, c := range []struct {
		name, manifest string
		fails          bool
	}{
		{"without annotations", "{kind: Pod, metadata: {name: s}, spec: {priority: 2000001000}}", false},
		{"with annotations", "{kind: Pod, metadata: {name: s, annotations: {a: b}}, spec: {containers: [{command: [x, '--y=1']}]}}", false},
		{"empty", "", true},
		{"torn", "kind: Pod\nmetadata: {", true},
	} {
		t.Run(c.name, func(t *testing.T) {
			must(t, os.WriteFile(file, []byte(c.manifest), 0o600))
			err := kubeadm.RestartPod(file, when)
			if (err != nil) != c.fails {
				t.Fatal(err)
			}
			data, err := os.ReadFile(file)
			must(t, err)
			if c.fails {
				if string(data) != c.manifest {
					t.Errorf("it became %s", data)
				}
				return
			}
			var was, is map[string]any
			must(t, yaml.Unmarshal([]byte(c.manifest), &was))
			must(t, yaml.Unmarshal(data, &is))
			annotations := is["metadata"].(map[string]any)["annotations"].(map[string]any)
			if got := annotations["slipway.local/credentials-renewed"]; got != "2027-01-02T03:04:05Z" { // a string, as annotations must be
				t.Errorf("annotated %v", got)
			}
			delete(annotations, "slipway.local/credentials-renewed")
			if len(annotations) == 0 {
				delete(is["metadata"].(map[string]any), "annotations")
			}
			if !reflect.DeepEqual(was, is) {
				t.Errorf("%v became %v", was, is)
			}
		})
	}
	if err := kubeadm.RestartPod(filepath.Join(t.TempDir(), "x.yaml"), when); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("missing: %v", err)
	}
}
