package kubeapi

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strings"
)

// fieldManager is who the API server takes for the owner of what is applied.
const fieldManager = "slipway"

// Apply makes an object what it is given as, whether it exists or not, by
// server-side apply: fields that others set and this does not name stay. The
// object has apiVersion, kind and metadata.name; without metadata.namespace it
// is in the namespace default, if its kind has namespaces. The error is an
// UnknownKindError if the server does not serve such objects, which may change.
func (c *Client) Apply(ctx context.Context, object map[string]any) error {
	path, err := c.place(ctx, object)
	if err != nil {
		return err
	}
	body, err := json.Marshal(object)
	if err != nil {
		return fmt.Errorf("writing %s: %w", Describe(object), err)
	}
	_, err = c.Send(ctx, http.MethodPatch, path+"?force=true&fieldManager="+fieldManager, "application/apply-patch+yaml", bytes.NewReader(body))
	return err
}

// Established returns what keeps a CustomResourceDefinition from being served;
// "" if nothing does, and for objects of any other kind.
func (c *Client) Established(ctx context.Context, object map[string]any) (string, error) {
	if group, _, _ := strings.Cut(text(object, "apiVersion"), "/"); group != "apiextensions.k8s.io" || text(object, "kind") != "CustomResourceDefinition" {
		return "", nil
	}
	path, err := c.place(ctx, object)
	if err != nil {
		return "", err
	}
	var definition Object
	if err := c.Get(ctx, path, &definition); err != nil {
		return "", err
	}
	waiting := "not established yet"
	for _, condition := range definition.Status.Conditions {
		switch {
		case condition.Type == "Established" && condition.Status == "True":
			return "", nil
		case condition.Type == "NamesAccepted" && condition.Status == "False":
			waiting = short("its names are not accepted: " + condition.Message)
		}
	}
	return waiting, nil
}

// UnknownKindError is an object of a kind that the API server does not serve.
type UnknownKindError struct{ Kind, APIVersion string }

func (e *UnknownKindError) Error() string {
	return fmt.Sprintf("the API server knows no %s of %s", e.Kind, e.APIVersion)
}

// place returns the path of an object, as the API server's discovery says
// (Kubernetes, "API concepts": resource URIs).
func (c *Client) place(ctx context.Context, object map[string]any) (string, error) {
	version, kind := text(object, "apiVersion"), text(object, "kind")
	metadata, _ := object["metadata"].(map[string]any)
	name := text(metadata, "name")
	if version == "" || kind == "" || name == "" {
		return "", errors.New("an object lacks apiVersion, kind or metadata.name")
	}
	base := "/api/" + url.PathEscape(version)
	if group, version, ok := strings.Cut(version, "/"); ok {
		base = "/apis/" + url.PathEscape(group) + "/" + url.PathEscape(version)
	}
	var served struct {
		Resources []struct {
			Name, Kind string
			Namespaced bool
		}
	}
	err := c.Get(ctx, base, &served)
	if IsNotFound(err) {
		return "", &UnknownKindError{kind, version}
	}
	if err != nil {
		return "", err
	}
	for _, r := range served.Resources {
		if r.Kind != kind || strings.Contains(r.Name, "/") { // a subresource
			continue
		}
		if r.Namespaced {
			namespace := text(metadata, "namespace")
			if namespace == "" {
				namespace = "default"
			}
			base += "/namespaces/" + url.PathEscape(namespace)
		}
		return base + "/" + r.Name + "/" + url.PathEscape(name), nil
	}
	return "", &UnknownKindError{kind, version}
}

// Describe names an object: "ConfigMap kube-system/coredns".
func Describe(object map[string]any) string {
	metadata, _ := object["metadata"].(map[string]any)
	name := text(metadata, "name")
	if namespace := text(metadata, "namespace"); namespace != "" {
		name = namespace + "/" + name
	}
	return text(object, "kind") + " " + name
}

func text(object map[string]any, field string) string {
	s, _ := object[field].(string)
	return s
}
