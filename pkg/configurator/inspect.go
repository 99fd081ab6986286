package configurator

import (
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/slipway-os/slipway/pkg/kubeadm"
	"github.com/slipway-os/slipway/pkg/role"
)

// inspect looks at what is there before anything goes on from it: kubeadm
// takes damaged keys for good ones. What can be made again is removed and
// made again; the authorities never are. What is whole but old is renewed.
func (c *Configurator) inspect() error {
	if err := c.inspectForeign(); err != nil {
		return err
	}
	if err := c.renew(time.Now()); err != nil {
		return err
	}
	pki := c.pki()
	if !c.journal.Done(c.founded()) {
		if c.journal.Interrupted("authorities") || c.journal.Interrupted("shared") {
			return nil // these steps look themselves
		}
		return c.inspectGiven(pki)
	}
	if err := pki.Check(); err != nil {
		if wrong := clock(err); wrong != nil {
			return wrong
		}
		damaged := fmt.Errorf("this cluster's certificate authorities are damaged and are not made anew, for every node trusts them; restore %s from a backup: %w", kubeadm.PKIDir, err)
		if !c.journal.Done(ready) {
			return &FatalError{damaged}
		}
		// The node may well run on: it is not kept from it.
		c.status.Warn(damaged.Error())
		return nil
	}
	if err := c.remake("certificates", "certificates", pki.DropDamagedLeaves); err != nil {
		return err
	}
	if !c.signsItself() {
		return c.inspectSigned()
	}
	return c.remake("kubeconfigs", "kubeconfigs", func() ([]string, error) {
		dropped, err := c.dropDamagedKubeconfigs()
		if c.journal.Done(ready) {
			// Whoever takes the key to everything off the node means it.
			dropped = slices.DeleteFunc(dropped, func(name string) bool { return name == "super-admin.conf" })
		}
		return dropped, err
	})
}

// inspectForeign refuses keys that nobody may have laid down on a node of its
// role. A node that was Ready once runs on.
func (c *Configurator) inspectForeign() error {
	foreign := kubeadm.ForeignKeys(c.role)
	for _, file := range slices.Sorted(maps.Keys(foreign)) {
		if _, err := os.Stat(c.path(file)); errors.Is(err, fs.ErrNotExist) {
			continue
		} else if err != nil {
			return err
		}
		err := fmt.Errorf("%s %s (remove it here, and leave it out of the config)", file, foreign[file])
		if !c.journal.Done(ready) {
			return &FatalError{err}
		}
		c.status.Warn(err.Error())
	}
	return nil
}

// founded is the step after which all that others trust must be there.
func (c *Configurator) founded() string {
	if c.role.Join == nil {
		return "authorities"
	}
	return "certificates"
}

// inspectGiven looks at what a config laid down, before anything was made.
func (c *Configurator) inspectGiven(pki kubeadm.PKI) error {
	if c.role.Role == role.ControlPlane && c.role.Join != nil && c.role.Join.CertificateKey == "" {
		if err := pki.Check(); err != nil {
			if wrong := clock(err); wrong != nil {
				return wrong
			}
			return &FatalError{fmt.Errorf("a control plane that joins a cluster needs its authorities, as `builder cluster render` lays them down, or join.certificateKey: %w", err)}
		}
		return c.inspectSigned()
	}
	if err := pki.CheckGiven(); err != nil {
		if c.journal.Done(ready) {
			c.status.Warn(err.Error()) // the node may well run on
			return nil
		}
		if wrong := clock(err); wrong != nil {
			return wrong
		}
		return &FatalError{fmt.Errorf("the certificates that this node was given cannot be used; give each with its key, or none: %w", err)}
	}
	return c.inspectSigned()
}

// inspectSigned looks at the kubeconfigs of a control plane whose authority
// is kept elsewhere: nobody here can make them.
func (c *Configurator) inspectSigned() error {
	if c.role.Role != role.ControlPlane || c.signsItself() {
		return nil
	}
	names := c.kubeconfigs()
	if c.journal.Done(ready) {
		names = slices.DeleteFunc(names, func(name string) bool { return name == "super-admin.conf" })
	}
	err := kubeadm.CheckKubeconfigs(c.path(kubeadm.ConfigDir), c.path(kubeadm.PKIDir), names)
	switch {
	case err == nil:
		return nil
	case c.journal.Done(ready): // the node may well run on
		c.status.Warn(err.Error())
		return nil
	case clock(err) != nil:
		return clock(err)
	}
	return &FatalError{fmt.Errorf("the key of the cluster's authority is not on this node, so its kubeconfigs must be, as `builder cluster render --signed` lays them down: %w", err)}
}

// remake lets a step that is done be done again if something of it is damaged.
func (c *Configurator) remake(step, what string, drop func() ([]string, error)) error {
	if !c.journal.Done(step) {
		return nil
	}
	dropped, err := drop()
	// Also if not everything could be looked at: what was dropped is gone.
	if len(dropped) > 0 {
		c.status.Note(what + " that are damaged are made again: " + strings.Join(dropped, ", "))
		err = errors.Join(c.journal.Reopen(step), err)
	}
	if err != nil {
		return fmt.Errorf("looking for damaged %s: %w", what, err)
	}
	return nil
}

// clock returns what to do about a certificate that is of the future by this
// machine's clock, if that is what is wrong: it was made in the past.
func clock(err error) error {
	var wrong *kubeadm.ClockError
	if errors.As(err, &wrong) && wrong.Now.Before(wrong.From) {
		return fmt.Errorf("THE CLOCK IS WRONG: %w; set it, or name time.servers in the role", wrong)
	}
	return nil
}
