//go:build ignore

// Command generate prints the fields of Kubernetes' configuration documents, as
// its own Go types have them, and its feature gates. It is run in the module that pins Kubernetes.
package main

import (
	"encoding/json"
	"fmt"
	"log"
	"os"
	"reflect"
	"runtime/debug"
	"strings"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	admission "k8s.io/apiserver/pkg/apis/apiserver/v1"
	audit "k8s.io/apiserver/pkg/apis/audit/v1"
	feature "k8s.io/apiserver/pkg/util/feature"
	"k8s.io/component-base/featuregate"
	logs "k8s.io/component-base/logs/api/v1"
	metrics "k8s.io/component-base/metrics/features"
	kubeproxy "k8s.io/kube-proxy/config/v1alpha1"
	kubelet "k8s.io/kubelet/config/v1beta1"
	kubeadm "k8s.io/kubernetes/cmd/kubeadm/app/apis/kubeadm/v1beta4"
	kubeadmfeatures "k8s.io/kubernetes/cmd/kubeadm/app/features"
	_ "k8s.io/kubernetes/pkg/features" // registers the gates
)

func main() {
	types := map[string]map[string]string{}
	for _, root := range []any{
		kubeadm.ClusterConfiguration{}, kubeadm.InitConfiguration{}, kubeadm.JoinConfiguration{},
		kubelet.KubeletConfiguration{}, kubeproxy.KubeProxyConfiguration{}, audit.Policy{}, admission.AdmissionConfiguration{},
	} {
		describe(types, reflect.TypeOf(root))
	}
	out := json.NewEncoder(os.Stdout)
	out.SetIndent("", " ")
	// As the kubelet and kube-proxy do, beside what packages do when they are loaded.
	for _, add := range []func(featuregate.MutableVersionedFeatureGate) error{logs.AddFeatureGates, metrics.AddFeatureGates} {
		if err := add(feature.DefaultMutableFeatureGate); err != nil {
			log.Fatal(err)
		}
	}
	gates := map[string]map[string]string{"kubernetes": {}, "kubeadm": {}}
	for name, spec := range feature.DefaultMutableFeatureGate.GetAll() {
		gates["kubernetes"][string(name)] = settled(spec)
	}
	for name, spec := range kubeadmfeatures.InitFeatureGates {
		gates["kubeadm"][name] = settled(spec.FeatureSpec)
	}
	if err := out.Encode(map[string]any{"version": version(), "types": types, "gates": gates}); err != nil {
		log.Fatal(err)
	}
}

// settled is what a gate always is; "" if that can be set.
func settled(spec featuregate.FeatureSpec) string {
	if spec.LockToDefault {
		return fmt.Sprint(spec.Default)
	}
	return ""
}

// version is that of Kubernetes which this program was built with.
func version() string {
	info, _ := debug.ReadBuildInfo()
	for _, m := range info.Deps {
		if m.Path == "k8s.io/kubernetes" {
			return m.Version
		}
	}
	log.Fatal("built without k8s.io/kubernetes")
	return ""
}

// packages are those of the structs by name.
var packages = map[string]string{}

// describe returns the name of a type, and adds what a struct has.
func describe(types map[string]map[string]string, t reflect.Type) string {
	switch t {
	case reflect.TypeOf(metav1.Duration{}):
		return "duration"
	case reflect.TypeOf([]byte{}):
		return "string"
	}
	if t.Kind() != reflect.Pointer && reflect.PointerTo(t).Implements(reflect.TypeFor[json.Unmarshaler]()) {
		return "any" // its own way to be written: quantities, times
	}
	switch t.Kind() {
	case reflect.Pointer:
		return describe(types, t.Elem())
	case reflect.Slice:
		return "[]" + describe(types, t.Elem())
	case reflect.Map:
		return "map " + describe(types, t.Elem())
	case reflect.Bool:
		return "bool"
	case reflect.String:
		return "string"
	case reflect.Int, reflect.Int8, reflect.Int16, reflect.Int32, reflect.Int64, reflect.Uint, reflect.Uint8, reflect.Uint16, reflect.Uint32, reflect.Uint64:
		return "int"
	case reflect.Float32, reflect.Float64:
		return "number"
	case reflect.Struct:
		name := t.Name()
		if _, known := types[name]; known && packages[name] != t.PkgPath() {
			log.Fatalf("two types are named %s: in %s and %s", name, packages[name], t.PkgPath())
		} else if !known {
			packages[name] = t.PkgPath()
			types[name] = map[string]string{}
			addFields(types, types[name], t)
		}
		return name
	}
	return "any"
}

func addFields(types map[string]map[string]string, fields map[string]string, t reflect.Type) {
	for f := range t.Fields() {
		name, options, _ := strings.Cut(f.Tag.Get("json"), ",")
		switch {
		case name == "-" || !f.IsExported():
		case strings.Contains(options, "inline") || f.Anonymous && name == "":
			addFields(types, fields, f.Type)
		default:
			if name == "" {
				name = f.Name
			}
			fields[name] = describe(types, f.Type)
		}
	}
}
