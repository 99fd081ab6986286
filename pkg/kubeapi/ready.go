package kubeapi

import (
	"context"
	"encoding/base64"
	"fmt"
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

// Object is what nodes and pods have in common here.
type Object struct {
	Metadata struct {
		Name              string
		Namespace         string
		DeletionTimestamp *string
	}
	Status struct {
		Phase             string
		Conditions        []Condition
		ContainerStatuses []ContainerStatus
		PodIP             string
	}
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
}

// List is a list of objects.
type List struct{ Items []Object }

// Waiting returns what is missing until the node of that name (any node, if
// it is "") is Ready and every pod of kube-system runs and is ready: one line,
// or "" when nothing is.
func (c *Client) Waiting(ctx context.Context, node string) (string, error) {
	var nodes, pods List
	if err := c.Get(ctx, "/api/v1/nodes", &nodes); err != nil {
		return "", err
	}
	if node != "" {
		nodes.Items = slices.DeleteFunc(nodes.Items, func(o Object) bool { return o.Metadata.Name != node })
	}
	if len(nodes.Items) == 0 {
		return fmt.Sprintf("node %q has not registered", node), nil
	}
	for _, n := range nodes.Items {
		if why := n.unready(); why != "" {
			return fmt.Sprintf("node %q is not Ready: %s", n.Metadata.Name, why), nil
		}
	}
	if err := c.Get(ctx, "/api/v1/namespaces/kube-system/pods", &pods); err != nil {
		return "", err
	}
	if len(pods.Items) == 0 {
		return "no pod in kube-system yet", nil
	}
	var waiting []string
	for _, p := range pods.Items {
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
			if why := w.unready(); why != "" && len(waiting) == 0 {
				waiting = append(waiting, w.Metadata.Name+" ("+why+")")
			}
		}
	}
	slices.Sort(waiting)
	return strings.Join(waiting, ", "), nil
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

// unready says why a node or pod is not ready; "" if it is.
func (o *Object) unready() string {
	if o.Metadata.DeletionTimestamp != nil {
		return "being deleted"
	}
	for _, s := range o.Status.ContainerStatuses {
		if w := s.State.Waiting; w != nil && w.Reason != "" {
			return w.Reason
		}
	}
	for _, c := range o.Status.Conditions {
		if c.Type != "Ready" {
			continue
		}
		if c.Status == "True" {
			return ""
		}
		if c.Message != "" {
			return c.Message
		}
		return c.Reason
	}
	if o.Status.Phase != "" {
		return o.Status.Phase
	}
	return "no status yet"
}
