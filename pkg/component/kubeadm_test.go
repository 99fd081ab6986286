package component

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

const (
	constants = `package constants

const (
	CoreDNSImageName = "coredns"
	CoreDNSVersion   = "v1.14.6"
	PauseVersion     = "3.10.2"
	Etcd             = "etcd"
	KubeAPIServer    = "kube-apiserver"
	KubeProxy        = "kube-proxy"

	DefaultEtcdVersion = "3.7.0-0"
)

var SupportedEtcdVersion = map[uint8]string{
	35: "3.5.24-0",
	36: "3.6.6-0",
	37: "3.7.0-0",
}
`
	list = `package images

func GetKubernetesImage(image string, cfg *Config) string { return "" }

func GetControlPlaneImages(cfg *Config) []string {
	images := make([]string, 0)
	images = append(images, GetKubernetesImage(constants.KubeAPIServer, cfg))
	images = append(images, GetKubernetesImage(constants.KubeProxy, cfg))
	if cfg.DNS.Disabled == "" {
		images = append(images, GetDNSImage(cfg))
	}
	images = append(images, GetPauseImage(cfg))
	if cfg.Etcd.Local != nil {
		images = append(images, GetEtcdImage(cfg, 0))
	}
	return images
}
`
)

func TestTheImagesAreReadFromKubeadmsSource(t *testing.T) {
	for _, c := range []struct{ name, constants, list, version, want string }{
		{"all of them", constants, list, "v1.37.2", "kube-apiserver:v1.37.2 kube-proxy:v1.37.2 coredns:v1.14.6 pause:3.10.2 etcd:3.7.0-0"},
		{"etcd of the minor version", constants, list, "v1.36.1", "kube-apiserver:v1.36.1 kube-proxy:v1.36.1 coredns:v1.14.6 pause:3.10.2 etcd:3.6.6-0"},
		{"etcd of the nearest one", constants, list, "v1.99.0", "kube-apiserver:v1.99.0 kube-proxy:v1.99.0 coredns:v1.14.6 pause:3.10.2 etcd:3.7.0-0"},
		{"a version with what no tag may have", constants, list, "v1.37.2+x.1", "kube-apiserver:v1.37.2_x.1 kube-proxy:v1.37.2_x.1 coredns:v1.14.6 pause:3.10.2 etcd:3.7.0-0"},
		{"an image that nobody knows", constants, strings.ReplaceAll(list, "GetPauseImage", "GetNewImage"), "v1.37.2", "! it calls GetNewImage, which Slipway does not know"},
		{"a constant that is gone", strings.ReplaceAll(constants, "PauseVersion", "PauseTag"), list, "v1.37.2", "! has no string constant PauseVersion"},
		{"a list that is gone", constants, strings.ReplaceAll(list, "GetControlPlaneImages", "ListImages"), "v1.37.2", "! has no GetControlPlaneImages that lists images"},
		{"an image that is computed", constants, strings.ReplaceAll(list, "constants.KubeProxy", `name("x")`), "v1.37.2", "! GetKubernetesImage is called with what is no constant"},
		{"no Go", constants, "package", "v1.37.2", "! expected 'IDENT'"},
	} {
		t.Run(c.name, func(t *testing.T) {
			dir := t.TempDir()
			for p, text := range map[string]string{"constants/constants.go": c.constants, "images/images.go": c.list} {
				file := filepath.Join(dir, p)
				if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
					t.Fatal(err)
				}
				if err := os.WriteFile(file, []byte(text), 0o644); err != nil {
					t.Fatal(err)
				}
			}
			images, err := kubeadmImages(dir, c.version)
			if want, failing := strings.CutPrefix(c.want, "! "); failing {
				if err == nil || !strings.Contains(err.Error(), want) {
					t.Errorf("got %q, %v", images, err)
				}
				return
			}
			if got := strings.Join(images, " "); err != nil || got != c.want {
				t.Errorf("got  %s, %v\nwant %s", got, err, c.want)
			}
		})
	}
}

// The kubeadm that is pinned wants what kubeadm config images list of that
// version prints. Its module is fetched, if it is not in the module cache yet.
func TestTheImagesOfThePinnedKubeadm(t *testing.T) {
	c, err := Load("../../profiles/components/kubernetes")
	if err != nil {
		t.Fatal(err)
	}
	b := newBuilder(t)
	for range 2 { // the second time from the store
		images, err := b.KubeadmImages(t.Context(), c, "slipway.local")
		if err != nil {
			t.Fatal(err)
		}
		for _, name := range []string{"kube-apiserver", "kube-controller-manager", "kube-scheduler", "kube-proxy"} {
			if !slices.Contains(images, "slipway.local/"+name+":"+c.Version) {
				t.Errorf("no %s in %q", name, images)
			}
		}
		for _, name := range []string{"coredns", "pause", "etcd"} {
			if !slices.ContainsFunc(images, func(i string) bool { return strings.HasPrefix(i, "slipway.local/"+name+":") }) {
				t.Errorf("no %s in %q", name, images)
			}
		}
		if len(images) != 7 {
			t.Errorf("%d images: %q", len(images), images)
		}
	}
	if _, err := b.KubeadmImages(t.Context(), pause(t), "x"); err == nil || !strings.Contains(err.Error(), `component "pause" does not require k8s.io/kubernetes`) {
		t.Errorf("of another component: %v", err)
	}
}
