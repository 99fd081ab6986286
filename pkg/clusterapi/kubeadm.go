package clusterapi

import (
	"slices"
	"strings"

	"go.yaml.in/yaml/v3"

	"github.com/slipway-os/slipway/pkg/diag"
	"github.com/slipway-os/slipway/pkg/document"
	"github.com/slipway-os/slipway/pkg/role"
)

const roleFile = role.File

// settings are kubeadm's documents, by their kinds.
type settings map[string]*yaml.Node

// read reads a text of YAML documents: objects, or lists.
func (r *reader) read(in passage) []*yaml.Node {
	var all []*yaml.Node
	lines := strings.SplitAfter(string(in.data), "\n")
	for from := 0; from < len(lines); {
		to := from + 1
		for to < len(lines) && !separates(lines[to]) {
			to++
		}
		above := from
		place := func(line, column int) diag.Position { return in.place(above+line, column) }
		part := lines[from:to]
		if separates(part[0]) {
			part = append([]string{"\n"}, part[1:]...)
		}
		from = to
		doc, err := document.Parse("", []byte(strings.Join(part, "")))
		var value any
		if err == nil && doc.Root() != nil {
			err = doc.Decode(&value) // finds what is no plain YAML
		}
		if err != nil {
			r.collect(err, place)
			continue
		}
		root := doc.Root()
		if root == nil || root.Tag == "!!null" {
			continue
		}
		if root.Kind == yaml.ScalarNode {
			r.refuse(place(root.Line, root.Column), "", "neither an object nor a list")
			continue
		}
		all = append(all, r.keep(root, place))
	}
	return all
}

// separates says whether a line begins another document.
func separates(line string) bool {
	rest, ok := strings.CutPrefix(line, "---")
	return ok && strings.TrimSpace(rest) == ""
}

// keep returns a copy of a value whose places are known.
func (r *reader) keep(n *yaml.Node, place func(line, column int) diag.Position) *yaml.Node {
	kept := *n
	kept.Content = nil
	for _, c := range n.Content {
		kept.Content = append(kept.Content, r.keep(c, place))
	}
	r.places[&kept] = place(n.Line, n.Column)
	return &kept
}

// scalar returns a string that stands at the place of another value.
func (r *reader) scalar(from *yaml.Node, value string) *yaml.Node {
	n := &yaml.Node{Kind: yaml.ScalarNode, Tag: "!!str", Value: value}
	r.places[n] = r.where(from)
	return n
}

// object returns an empty object at the place of another value.
func (r *reader) object(from *yaml.Node) *yaml.Node {
	n := document.Mapping(nil)
	r.places[n] = r.where(from)
	return n
}

func (r *reader) list(from *yaml.Node, values ...*yaml.Node) *yaml.Node {
	n := &yaml.Node{Kind: yaml.SequenceNode, Tag: "!!seq", Content: values}
	r.places[n] = r.where(from)
	return n
}

// set puts a value at a path of an object, unless it is nil.
func (r *reader) set(n *yaml.Node, path string, value *yaml.Node) {
	if value == nil {
		return
	}
	first, rest, deep := strings.Cut(path, ".")
	if !deep {
		document.Put(n, first, value)
		return
	}
	inner := document.Value(n, first)
	if inner == nil {
		inner = r.object(value)
		document.Put(n, first, inner)
	}
	r.set(inner, rest, value)
}

// take removes the value at a path of an object and returns it; nil if there
// is none.
func take(n *yaml.Node, path string) *yaml.Node {
	first, rest, deep := strings.Cut(path, ".")
	if n.Kind != yaml.MappingNode {
		return nil
	}
	for i := 0; i+1 < len(n.Content); i += 2 {
		if n.Content[i].Value != first {
			continue
		}
		value := n.Content[i+1]
		if deep {
			inner := value
			value = take(inner, rest)
			if inner.Kind != yaml.MappingNode || len(inner.Content) > 0 {
				return value
			}
		}
		n.Content = slices.Delete(n.Content, i, i+2)
		return value
	}
	return nil
}

// prune removes what says nothing: the bootstrap provider writes fields that
// nobody set as null or {}. That a node is a control plane is said even by {}.
func prune(n *yaml.Node) {
	if n.Kind != yaml.MappingNode {
		return
	}
	var kept []*yaml.Node
	for i := 0; i+1 < len(n.Content); i += 2 {
		v := n.Content[i+1]
		prune(v)
		empty := v.Kind == yaml.MappingNode && len(v.Content) == 0 && n.Content[i].Value != "controlPlane"
		if v.Tag != "!!null" && !empty {
			kept = append(kept, n.Content[i], v)
		}
	}
	n.Content = kept
}

// role makes the role that kubeadm's configuration asks for, with what the user
// says of it laid over.
func (r *reader) role() *yaml.Node {
	docs := settings{}
	for _, d := range r.read(r.settings) {
		r.sort(docs, d)
	}
	switch own := r.read(r.own); {
	case len(own) > 1:
		r.refuse(r.where(own[1]), "", "%s: a second YAML document begins here", roleFile)
	case len(docs) == 0 && len(own) == 0 && len(r.problems) == 0:
		r.refuse(diag.Position{File: r.name, Line: 1, Column: 1}, "let Cluster API's kubeadm bootstrap provider make it, or give "+roleFile, "it holds no configuration of kubeadm")
	case len(docs) == 0 && len(own) == 1:
		return own[0]
	case len(own) == 1:
		return document.Merge(r.derive(docs), own[0])
	case len(docs) > 0:
		return r.derive(docs)
	}
	return document.Mapping(nil) // something was wrong
}

// sort files a document under its kind.
func (r *reader) sort(docs settings, d *yaml.Node) {
	api, kind := document.Value(d, "apiVersion"), document.Value(d, "kind")
	groups := map[string]string{
		"ClusterConfiguration": kubeadmAPI, "InitConfiguration": kubeadmAPI, "JoinConfiguration": kubeadmAPI,
		"KubeletConfiguration": "kubelet.config.k8s.io/v1beta1", "KubeProxyConfiguration": "kubeproxy.config.k8s.io/v1alpha1",
	}
	switch {
	case kind == nil || groups[kind.Value] == "":
		r.refuse(r.where(d), "ClusterConfiguration, InitConfiguration, JoinConfiguration, KubeletConfiguration, KubeProxyConfiguration", "not a document that kubeadm reads")
	case api == nil || api.Value != groups[kind.Value]:
		given := "missing"
		if api != nil {
			given = api.Value
		}
		r.refuse(r.where(d), "is the Machine's version of Kubernetes that of the image?", "%s: its apiVersion is %s, but this Kubernetes reads %s", kind.Value, given, groups[kind.Value])
	case docs[kind.Value] != nil:
		r.refuse(r.where(d), "put both into one", "%s is given twice", kind.Value)
	default:
		if groups[kind.Value] == kubeadmAPI {
			prune(d)
		}
		docs[kind.Value] = d
	}
}

const kubeadmAPI = "kubeadm.k8s.io/v1beta4"
