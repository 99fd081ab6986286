package kubeapi

import (
	"bytes"
	"context"
	"encoding/json"
	"net/http"
	"time"
)

// leaseDuration is how long a holder that fell silent keeps others waiting.
const leaseDuration = time.Minute

// Lease is a lock that all nodes of a cluster see: an object of
// coordination.k8s.io/v1 in kube-system.
type Lease struct {
	client       *Client
	name, holder string
	seen         lease     // as it was last read
	since        time.Time // when it was first read so, by this machine's clock: others' may differ
}

type lease struct {
	APIVersion string    `json:"apiVersion"`
	Kind       string    `json:"kind"`
	Metadata   leaseMeta `json:"metadata"`
	Spec       leaseSpec `json:"spec"`
}

type leaseMeta struct {
	Name            string `json:"name"`
	Namespace       string `json:"namespace"`
	ResourceVersion string `json:"resourceVersion,omitempty"`
}

type leaseSpec struct {
	HolderIdentity       string `json:"holderIdentity"`
	LeaseDurationSeconds int    `json:"leaseDurationSeconds"`
	RenewTime            string `json:"renewTime"`
}

const leases = "/apis/coordination.k8s.io/v1/namespaces/kube-system/leases"

// Lease returns a lock that nobody has taken yet on behalf of holder.
func (c *Client) Lease(name, holder string) *Lease {
	return &Lease{client: c, name: name, holder: holder}
}

// Take tries to take the lock, or to keep it, and returns who else has it.
func (l *Lease) Take(ctx context.Context) (other string, err error) {
	var now lease
	err = l.client.Get(ctx, leases+"/"+l.name, &now)
	if IsNotFound(err) {
		return "", l.write(ctx, http.MethodPost, leases, l.holder, "")
	}
	if err != nil {
		return "", err
	}
	if now.Metadata.ResourceVersion != l.seen.Metadata.ResourceVersion {
		l.seen, l.since = now, time.Now()
	}
	holder := now.Spec.HolderIdentity
	if holder != "" && holder != l.holder && time.Since(l.since) < leaseDuration {
		return holder, nil
	}
	return "", l.write(ctx, http.MethodPut, leases+"/"+l.name, l.holder, now.Metadata.ResourceVersion)
}

// write changes the lock, unless somebody else has done so meanwhile.
func (l *Lease) write(ctx context.Context, method, path, holder, version string) error {
	body, err := json.Marshal(lease{
		APIVersion: "coordination.k8s.io/v1", Kind: "Lease",
		Metadata: leaseMeta{l.name, "kube-system", version},
		Spec:     leaseSpec{holder, int(leaseDuration.Seconds()), time.Now().UTC().Format("2006-01-02T15:04:05.000000Z07:00")},
	})
	if err != nil {
		return err
	}
	_, err = l.client.Send(ctx, method, path, "application/json", bytes.NewReader(body))
	return err
}

// Keep keeps the lock until the function that it returns is called, which
// gives it back.
func (l *Lease) Keep(ctx context.Context) (release func()) {
	keeping, stop := context.WithCancel(ctx)
	done := make(chan struct{})
	go func() {
		defer close(done)
		for {
			select {
			case <-keeping.Done():
				return
			case <-time.After(leaseDuration / 4):
				l.Take(keeping) // one that fails is made up for by the next
			}
		}
	}()
	return func() {
		stop()
		<-done
		asked, cancel := context.WithTimeout(context.WithoutCancel(ctx), 10*time.Second)
		defer cancel()
		var now lease
		if l.client.Get(asked, leases+"/"+l.name, &now) == nil && now.Spec.HolderIdentity == l.holder {
			l.write(asked, http.MethodPut, leases+"/"+l.name, "", now.Metadata.ResourceVersion)
		}
	}
}
