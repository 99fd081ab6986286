package kubeapi

import (
	"cmp"
	"context"
	"encoding/base64"
	"fmt"
	"net/url"
	"os"
	"slices"
	"strings"
)

func decode(field, data string) ([]byte, error) {
	b, err := base64.StdEncoding.DecodeString(data)
	if err != nil || len(b) == 0 {
		return nil, fmt.Errorf("reading kubeconfig: %s is missing or not base64", field)
	}
	return b, nil
}

func inlineOrFile(field, data, file string) ([]byte, error) {
	if data == "" && file != "" {
		return os.ReadFile(file)
	}
	return decode(field, data)
}

// Object is what nodes and pods have in common here.
type Object struct {
	Metadata struct {
		Name              string
		Namespace         string
		DeletionTimestamp *string
		OwnerReferences   []Owner
	}
	Spec struct {
		NodeName    string
		HostNetwork bool
	}
	Status struct {
		Phase                 string
		Reason                string
		Message               string
		Conditions            []Condition
		InitContainerStatuses []ContainerStatus
		ContainerStatuses     []ContainerStatus
		PodIP                 string
	}
}

// Owner is what made a pod, and makes another where one is gone.
type Owner struct {
	Kind       string
	Controller bool
}

// Condition is a condition of a node or pod.
type Condition struct{ Type, Status, Reason, Message string }

// ContainerStatus is how a pod's container fares.
type ContainerStatus struct {
	Name         string
	RestartCount int
	State        struct {
		Waiting *struct{ Reason, Message string }
	}
	LastState struct {
		Terminated *struct {
			ExitCode        int
			Reason, Message string
		}
	}
}

// List is a list of objects.
type List struct{ Items []Object }

// Waiting returns what is missing until the node of that name (any node, if
// it is "") is Ready and every pod of kube-system runs and is ready, but for
// those on other nodes than the named: one line, or "" when nothing is.
func (c *Client) Waiting(ctx context.Context, node string) (string, error) {
	waitingNode, err := c.WaitingNode(ctx, node)
	if waitingNode != "" || err != nil {
		return waitingNode, err
	}
	var pods List
	if err := c.Get(ctx, "/api/v1/namespaces/kube-system/pods", &pods); err != nil {
		return "", err
	}
	if len(pods.Items) == 0 {
		return "no pod in kube-system yet", nil
	}
	var waiting []string
	for _, p := range pods.Items {
		if p.over() || node != "" && p.Spec.NodeName != "" && p.Spec.NodeName != node {
			continue
		}
		if why := p.unready(); why != "" {
			waiting = append(waiting, p.Metadata.Name+" ("+why+")")
		}
	}
	// Pods that nobody made yet are in no list.
	for _, kind := range []string{"deployments", "daemonsets"} {
		var sets workloads
		if err := c.Get(ctx, "/apis/apps/v1/namespaces/kube-system/"+kind, &sets); err != nil {
			return "", err
		}
		if len(sets.Items) == 0 {
			waiting = append(waiting, "no "+kind+" in kube-system yet")
		}
		for _, w := range sets.Items {
			if node != "" {
				w.Status.DesiredNumberScheduled = min(w.Status.DesiredNumberScheduled, 1)
			}
			if why := w.unready(); why != "" && len(waiting) == 0 {
				waiting = append(waiting, w.Metadata.Name+" ("+why+")")
			}
		}
	}
	slices.Sort(waiting)
	return strings.Join(waiting, ", "), nil
}

// WaitingProxy returns what is missing until kube-proxy runs on a node, if the
// cluster has it.
func (c *Client) WaitingProxy(ctx context.Context, node string) (string, error) {
	var proxy workload
	err := c.Get(ctx, "/apis/apps/v1/namespaces/kube-system/daemonsets/kube-proxy", &proxy)
	if IsNotFound(err) {
		return "", nil
	}
	if err != nil {
		return "", err
	}
	found := false
	waiting, err := c.waitingPods(ctx, node, func(p Object) bool {
		is := strings.HasPrefix(p.Metadata.Name, "kube-proxy-")
		found = found || is
		return is
	})
	if err == nil && !found {
		return "no kube-proxy on node \"" + node + "\" yet", nil
	}
	return strings.Join(waiting, ", "), err
}

// WaitingNode returns what keeps a node, or any if node is "", from being Ready.
func (c *Client) WaitingNode(ctx context.Context, node string) (string, error) {
	var nodes List
	if err := c.Get(ctx, "/api/v1/nodes", &nodes); err != nil {
		return "", err
	}
	if node != "" {
		nodes.Items = slices.DeleteFunc(nodes.Items, func(o Object) bool { return o.Metadata.Name != node })
	}
	if len(nodes.Items) == 0 && node == "" {
		return "no node has registered", nil
	}
	if len(nodes.Items) == 0 {
		return fmt.Sprintf("node %q has not registered", node), nil
	}
	for _, n := range nodes.Items {
		if why := n.unready(); why != "" {
			return fmt.Sprintf("node %q is not Ready: %s", n.Metadata.Name, why), nil
		}
	}
	return "", nil
}

// WaitingOn returns what is missing until a node is Ready and the pods of
// kube-system on it run and are ready: as far as that node's own kubelet may
// ask, which is for its node and for its pods.
func (c *Client) WaitingOn(ctx context.Context, node string) (string, error) {
	n, err := c.node(ctx, node)
	if err != nil || n == nil {
		return unregistered(node), err
	}
	if why := n.unready(); why != "" {
		return fmt.Sprintf("node %q is not Ready: %s", node, why), nil
	}
	waiting, err := c.waitingPods(ctx, node, func(Object) bool { return true })
	return strings.Join(waiting, ", "), err
}

// WaitingHosted returns what is missing until all runs on a node that can
// without a network of pods: what is on the host's network. It asks what
// WaitingOn does.
func (c *Client) WaitingHosted(ctx context.Context, node string) (string, error) {
	n, err := c.node(ctx, node)
	if err != nil || n == nil {
		return unregistered(node), err
	}
	hosted := 0
	waiting, err := c.waitingPods(ctx, node, func(p Object) bool {
		if p.Spec.HostNetwork {
			hosted++
		}
		return p.Spec.HostNetwork
	})
	if err == nil && hosted == 0 {
		return fmt.Sprintf("no pod on node %q yet", node), nil
	}
	return strings.Join(waiting, ", "), err
}

// node returns a node; nil if there is none of that name.
func (c *Client) node(ctx context.Context, name string) (*Object, error) {
	var n Object
	err := c.Get(ctx, "/api/v1/nodes/"+name, &n)
	if IsNotFound(err) {
		return nil, nil
	}
	return &n, err
}

func unregistered(node string) string { return fmt.Sprintf("node %q has not registered", node) }

// waitingPods returns what the pods of kube-system on a node lack that count,
// sorted.
func (c *Client) waitingPods(ctx context.Context, node string, counts func(Object) bool) ([]string, error) {
	var pods List
	if err := c.Get(ctx, "/api/v1/pods?fieldSelector=spec.nodeName%3D"+url.QueryEscape(node), &pods); err != nil {
		return nil, err
	}
	var waiting []string
	for _, p := range pods.Items {
		if p.Metadata.Namespace != "kube-system" || p.over() || !counts(p) {
			continue
		}
		if why := p.unready(); why != "" {
			waiting = append(waiting, p.Metadata.Name+" ("+why+")")
		}
	}
	slices.Sort(waiting)
	return waiting, nil
}

// workloads is a list of deployments or daemon sets.
type workloads struct{ Items []workload }

type workload struct {
	Metadata struct {
		Name       string
		Generation int64
	}
	Spec   struct{ Replicas *int }
	Status struct {
		ObservedGeneration     int64
		ReadyReplicas          int // of a deployment
		DesiredNumberScheduled int // of a daemon set
		NumberReady            int
	}
}

func (w workload) unready() string {
	if w.Status.ObservedGeneration < w.Metadata.Generation {
		return "not looked at yet"
	}
	wanted, ready := w.Status.DesiredNumberScheduled, w.Status.NumberReady
	if w.Spec.Replicas != nil {
		wanted, ready = *w.Spec.Replicas, w.Status.ReadyReplicas
	}
	if ready < wanted {
		return fmt.Sprintf("%d of %d ready", ready, wanted)
	}
	return ""
}

// over says whether a pod has ended and need not run again: it has done its
// work, or failed (was evicted, say) and its controller makes another, which
// counts instead of it.
func (o *Object) over() bool {
	switch o.Status.Phase {
	case "Succeeded":
		return true
	case "Failed":
		return slices.ContainsFunc(o.Metadata.OwnerReferences, func(r Owner) bool { return r.Controller && r.Kind != "Node" })
	}
	return false
}

// unready says why a node or pod is not ready; "" if it is.
func (o *Object) unready() string {
	if o.Metadata.DeletionTimestamp != nil {
		return "being deleted"
	}
	for _, s := range slices.Concat(o.Status.InitContainerStatuses, o.Status.ContainerStatuses) {
		if why := s.waiting(); why != "" {
			return why
		}
	}
	if o.Status.Phase == "Failed" {
		return short(strings.TrimSpace("failed " + cmp.Or(o.Status.Message, o.Status.Reason)))
	}
	for _, c := range o.Status.Conditions {
		if c.Type != "Ready" {
			continue
		}
		if c.Status == "True" {
			return ""
		}
		if why := cmp.Or(c.Message, c.Reason); why != "" {
			return short(why)
		}
	}
	for _, c := range o.Status.Conditions {
		if c.Type == "PodScheduled" && c.Status == "False" && c.Message != "" {
			why, _, _ := strings.Cut(c.Message, ". ") // then comes what else was tried
			return short(o.Status.Phase + ": " + why)
		}
	}
	return short(cmp.Or(o.Status.Message, o.Status.Reason, o.Status.Phase, "no status yet"))
}

// waiting says why a container does not run; "" if it is not told to wait.
func (s ContainerStatus) waiting() string {
	w := s.State.Waiting
	if w == nil || w.Reason == "" {
		return ""
	}
	why := w.Reason
	if t := s.LastState.Terminated; t != nil {
		// The message of a crash loop only counts the seconds to the next try.
		why += fmt.Sprintf(": %s exited with %d", s.Name, t.ExitCode)
		if t.Message != "" {
			why += ": " + t.Message
		} else if t.Reason != "" && t.Reason != "Error" {
			why += ": " + t.Reason
		}
	} else if w.Message != "" {
		why += ": " + w.Message
	}
	return short(why)
}
