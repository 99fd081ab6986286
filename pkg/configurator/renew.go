package configurator

import (
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/slipway-os/slipway/pkg/kubeadm"
	"github.com/slipway-os/slipway/pkg/role"
)

// renew signs certificates anew that ended while the node was off, or end soon,
// before anything else is made of them: without them the node's own API server
// does not start, and kubeadm may need that to make others.
func (c *Configurator) renew(now time.Time) error {
	renewal := kubeadm.Renewal{PKI: c.pki(), Period: kubeadm.LeafPeriod(c.role)}
	if c.role.Role != role.Worker && c.role.Role != role.Etcd {
		for _, name := range c.kubeconfigs() {
			renewal.Kubeconfigs = append(renewal.Kubeconfigs, filepath.Join(c.path(kubeadm.ConfigDir), name))
		}
		renewal.Kubelet = kubeadm.KubeletClient(c.path(kubeletPKI))
	}
	done, err := renewal.Run(now)
	for _, ending := range done.Ending {
		c.status.Warn(ending)
	}
	if len(done.Files) > 0 {
		c.status.Note("certificates that ended or end soon are signed anew: " + strings.Join(done.Files, ", "))
		err = errors.Join(err, c.restartRenewed(done.Files, now))
	}
	if wrong := clock(err); wrong != nil {
		err = wrong
	} else if err != nil {
		err = fmt.Errorf("renewing certificates: %w", err)
	}
	if err != nil && c.journal.Done(ready) { // the node may well run on
		c.status.Warn(err.Error())
		return nil
	}
	return err
}

// restartRenewed starts static pods anew that read what was renewed at their
// start only: the kubelet may have been faster. All others read their
// certificates again.
func (c *Configurator) restartRenewed(files []string, now time.Time) error {
	var errs []error
	readers := kubeadm.EmbeddedClients()
	for _, name := range slices.Sorted(maps.Keys(readers)) {
		if !slices.Contains(files, filepath.Join(c.path(kubeadm.ConfigDir), name)) {
			continue
		}
		if err := kubeadm.RestartPod(c.manifest(readers[name]), now); !errors.Is(err, fs.ErrNotExist) { // it is not started yet
			errs = append(errs, err)
		}
	}
	return errors.Join(errs...)
}
