package configurator

import (
	"context"
	"sync"
	"time"
)

// turnLasts is how long others wait for a control plane that etcd took in and
// that does not serve: emulated machines take minutes.
const turnLasts = 15 * time.Minute

// takeTurn waits until no other control plane is joining, and has others wait
// until endTurn. etcd takes members one by one; and while the newest one does
// not serve yet, one more would only make it less likely to.
func (c *Configurator) takeTurn(ctx context.Context) error {
	if c.turn != nil {
		return nil
	}
	client, err := c.client()
	if err != nil {
		return err
	}
	lease := client.Lease("slipway-join", c.pinned.NodeName)
	err = c.waitFor(ctx, c.forCluster(client.Server()), func(ctx context.Context) (string, error) {
		other, err := lease.Take(ctx)
		if other != "" {
			return "control plane " + other + " is joining; one at a time", err
		}
		return "", err
	})
	if err != nil {
		client.Close()
		return err
	}
	release := lease.Keep(ctx)
	c.turn = &turnHeld{release: func() {
		release()
		client.Close()
	}}
	return nil
}

// turnHeld is a node's turn at joining.
type turnHeld struct {
	release func()
	once    sync.Once
	timer   *time.Timer
}

// end gives the turn back, if that has not been done, and says whether it did.
func (t *turnHeld) end() (ended bool) {
	t.once.Do(func() {
		t.release()
		ended = true
	})
	return ended
}

// limitTurn has the turn end by itself, so that a control plane that is stuck
// keeps no others from joining.
func (c *Configurator) limitTurn(after time.Duration) {
	held := c.turn
	if held == nil || held.timer != nil {
		return
	}
	held.timer = time.AfterFunc(after, func() {
		if held.end() {
			c.status.Note("this control plane does not serve yet; others may join meanwhile")
		}
	})
}

// endTurn lets others join.
func (c *Configurator) endTurn() {
	if c.turn == nil {
		return
	}
	if c.turn.timer != nil {
		c.turn.timer.Stop()
	}
	c.turn.end()
	c.turn = nil
}

// joinEtcd lets the etcd cluster grow by this node.
func (c *Configurator) joinEtcd(ctx context.Context) error {
	if err := c.takeTurn(ctx); err != nil {
		return err
	}
	err := c.checkEtcd(ctx)
	if err == nil {
		err = c.growEtcd(ctx)
	}
	if err == nil {
		c.limitTurn(turnLasts)
		return nil // the turn goes on until the node serves
	}
	c.endTurn()
	// Who waits for its turn looks every now and then, and may be the one that
	// etcd waits for.
	select {
	case <-ctx.Done():
	case <-time.After(2 * c.forCluster("").most):
	}
	return err
}

// growEtcd makes this node a member of etcd.
func (c *Configurator) growEtcd(ctx context.Context) error {
	ctx, stop := context.WithCancel(ctx)
	kept := make(chan error, 1)
	go func() { kept <- c.keepEtcd(ctx) }()
	err := c.phase(ctx, "join phase etcd-join", c.path(kubeadmFile))
	stop()
	if lost := <-kept; err == nil {
		err = lost
	}
	return err
}

// serveStep is the step that starts the API server of a control plane that joins,
// in its turn.
func (c *Configurator) serveStep() step {
	s := c.releaseStep("serve", "starting the API server", "kube-apiserver")
	start := s.run
	s.run = func(ctx context.Context) error {
		if err := c.takeTurn(ctx); err != nil {
			return err
		}
		c.limitTurn(turnLasts) // after another boot, from here
		return start(ctx)
	}
	return s
}

// waitServing waits for the API server of this node, which ends its turn.
func (c *Configurator) waitServing(ctx context.Context) error {
	if err := c.waitOwnAPI(ctx); err != nil {
		return err
	}
	c.endTurn()
	return nil
}
