package configurator

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/slipway-os/slipway/pkg/kubeadm"
)

// heldDir is where the manifests of static pods wait for their turn: it is on
// the file system of the folder that the kubelet watches.
const heldDir = kubeadm.ConfigDir + "/held"

func (c *Configurator) manifest(component string) string {
	return filepath.Join(c.path(kubeadm.ConfigDir), "manifests", component+".yaml")
}

func (c *Configurator) held(component string) string {
	return filepath.Join(c.path(heldDir), component+".yaml")
}

// heldPlaneStep is planeStep for a node whose etcd has to join first: until
// then an API server would end again and again, and take from etcd what
// processor time there is.
func (c *Configurator) heldPlaneStep(phase string, components ...string) step {
	s := c.planeStep(phase, components...)
	clean := s.clean
	s.run = c.holding(s.run, components...)
	s.clean = func() error { return errors.Join(clean(), os.RemoveAll(c.path(heldDir))) }
	return s
}

// holding holds the manifests that a run writes.
func (c *Configurator) holding(run func(context.Context) error, components ...string) func(context.Context) error {
	return func(ctx context.Context) error {
		if err := run(ctx); err != nil {
			return err
		}
		if err := os.MkdirAll(c.path(heldDir), 0o700); err != nil {
			return err
		}
		for _, name := range components {
			if err := os.Rename(c.manifest(name), c.held(name)); err != nil {
				return err
			}
		}
		return nil
	}
}

// releaseStep lets the kubelet start components that were held.
func (c *Configurator) releaseStep(name, doing string, components ...string) step {
	return step{name: name, doing: doing, next: podsTellMore, run: func(context.Context) error {
		for _, component := range components {
			err := os.Rename(c.held(component), c.manifest(component))
			if errors.Is(err, fs.ErrNotExist) { // an attempt that was interrupted did it
				_, err = os.Stat(c.manifest(component))
			}
			if err != nil {
				return err
			}
		}
		if left, err := os.ReadDir(c.path(heldDir)); err == nil && len(left) == 0 {
			return os.Remove(c.path(heldDir))
		}
		return nil
	}}
}
