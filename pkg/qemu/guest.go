package qemu

import (
	"bytes"
	"context"
	"crypto/ed25519"
	"crypto/rand"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"strings"
	"time"

	"golang.org/x/crypto/ssh"

	"github.com/slipway-os/slipway/pkg/kubeapi"
	"github.com/slipway-os/slipway/pkg/status"
)

// Key is a key pair for one run of a machine, to log in with.
type Key struct {
	private ed25519.PrivateKey
	signer  ssh.Signer
}

// NewKey makes a key pair.
func NewKey() (Key, error) {
	_, private, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		return Key{}, err
	}
	signer, err := ssh.NewSignerFromKey(private)
	return Key{private, signer}, err
}

// Private returns the private key as ssh(1) reads it.
func (k Key) Private() ([]byte, error) {
	block, err := ssh.MarshalPrivateKey(k.private, "slipway-run")
	if err != nil {
		return nil, err
	}
	return pem.EncodeToMemory(block), nil
}

// Authorized returns the line for authorized_keys.
func (k Key) Authorized() string {
	return strings.TrimSpace(string(ssh.MarshalAuthorizedKey(k.signer.PublicKey()))) + " slipway-run"
}

// Guest is the inside of a running machine.
type Guest struct {
	vm  *VM
	key Key
	ssh int // ports of the loopback
	api int
}

// Inside returns the guest of a machine that forwards to its ports 22 and 6443.
func (vm *VM) Inside(key Key, sshPort, apiPort int) *Guest {
	return &Guest{vm: vm, key: key, ssh: sshPort, api: apiPort}
}

// retry is how long to wait before asking a machine again that does not answer
// yet: to let somebody in over SSH costs an emulated one a good part of a second.
const retry = 4 * time.Second

var errEnded = errors.New("the machine ended before that")

// Run runs a command in the guest as root, as soon as it lets us in, and
// returns what it prints.
func (g *Guest) Run(ctx context.Context, command string) ([]byte, error) {
	for {
		out, err := g.try(ctx, command)
		var exit *ssh.ExitError
		if err == nil || errors.As(err, &exit) {
			return out, err
		}
		if err := g.pause(ctx); err != nil {
			return nil, err
		}
	}
}

func (g *Guest) pause(ctx context.Context) error {
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-g.vm.Done():
		return errors.Join(errEnded, g.vm.Wait())
	case <-time.After(retry):
		return nil
	}
}

func (g *Guest) try(ctx context.Context, command string) ([]byte, error) {
	d := net.Dialer{Timeout: 10 * time.Second}
	conn, err := d.DialContext(ctx, "tcp", fmt.Sprintf("127.0.0.1:%d", g.ssh))
	if err != nil {
		return nil, err
	}
	defer conn.Close()
	stop := context.AfterFunc(ctx, func() { conn.Close() })
	defer stop()
	conn.SetDeadline(time.Now().Add(time.Minute))
	// The machine was made a moment ago, here, and has no host key anybody could know.
	config := &ssh.ClientConfig{User: "root", Auth: []ssh.AuthMethod{ssh.PublicKeys(g.key.signer)}, HostKeyCallback: ssh.InsecureIgnoreHostKey()}
	c, chans, reqs, err := ssh.NewClientConn(conn, "guest", config)
	if err != nil {
		return nil, err
	}
	conn.SetDeadline(time.Time{})
	client := ssh.NewClient(c, chans, reqs)
	defer client.Close()
	session, err := client.NewSession()
	if err != nil {
		return nil, err
	}
	defer session.Close()
	var stderr bytes.Buffer
	session.Stderr = &stderr
	out, err := session.Output(command)
	if err != nil && stderr.Len() > 0 {
		err = fmt.Errorf("%w: %s", err, strings.TrimSpace(stderr.String()))
	}
	return out, err
}

// adminConf is the administrator's kubeconfig that kubeadm leaves.
const adminConf = "/etc/kubernetes/admin.conf"

// RefusedError says why a node does not go on until somebody mends what is wrong.
type RefusedError struct{ Cause string }

func (e RefusedError) Error() string { return "the node does not go on: " + e.Cause }

// WaitReady waits until the API, asked from outside, says that the node is
// Ready and every pod of kube-system runs, and until the node says so too, as
// it has something left to record then. Its own word is enough where its role
// wants no pod network, and where it is no control plane. WaitReady tells say
// what is still missing whenever that changes, and returns the administrator's
// kubeconfig as it lies in the guest; nil if that is no control plane. The error
// is a RefusedError if the node gave up.
func (g *Guest) WaitReady(ctx context.Context, say io.Writer) (kubeconfig []byte, err error) {
	last := ""
	note := func(s string) {
		if s != last {
			fmt.Fprintf(say, "waiting: %s\n", s)
			last = s
		}
	}
	note("the machine to let us in")
	for {
		kubeconfig, err = g.Run(ctx, "cat "+adminConf)
		if err == nil && len(kubeconfig) > 0 {
			break
		}
		var exit *ssh.ExitError
		if !errors.As(err, &exit) {
			return nil, err
		}
		now, err := g.Status(ctx)
		if errors.As(err, new(RefusedError)) {
			return nil, err
		}
		if now.State == status.Ready { // a worker, or an etcd member
			return nil, nil
		}
		note("the node to be set up")
		if err := g.pause(ctx); err != nil {
			return nil, err
		}
	}
	client, err := g.API(kubeconfig)
	if err != nil {
		return nil, err
	}
	for {
		missing, err := client.Waiting(ctx, "")
		switch {
		case err != nil && ctx.Err() != nil:
			return nil, ctx.Err()
		case err != nil:
			note("the API to answer")
		case missing != "":
			note(missing)
			// More than that may never come.
			if now, err := g.Status(ctx); err == nil && now.State == status.Ready && now.Summary != nil && now.Summary.NoNetwork {
				return kubeconfig, nil
			}
		default:
			now, err := g.Status(ctx)
			if now.State == status.Ready || errors.As(err, new(RefusedError)) {
				return kubeconfig, err
			}
			note("the node to say that it is Ready")
		}
		if err := g.pause(ctx); err != nil {
			return nil, err
		}
	}
}

// Status returns what the node says of itself. The error is a RefusedError if
// the node gave up.
func (g *Guest) Status(ctx context.Context) (status.Status, error) {
	var s status.Status
	out, err := g.Run(ctx, "cat "+status.File)
	if err != nil {
		return s, err
	}
	if err := json.Unmarshal(out, &s); err != nil {
		return s, fmt.Errorf("reading the node's status: %w", err)
	}
	if s.State == status.Refused {
		return s, RefusedError{s.Cause}
	}
	return s, nil
}

// API returns a client that asks the guest's API server from outside.
func (g *Guest) API(kubeconfig []byte) (*kubeapi.Client, error) {
	return kubeapi.FromKubeconfig(kubeconfig, func(ctx context.Context, _, _ string) (net.Conn, error) {
		d := net.Dialer{Timeout: 10 * time.Second}
		return d.DialContext(ctx, "tcp", fmt.Sprintf("127.0.0.1:%d", g.api))
	})
}

// WriteKubeconfig writes the kubeconfig so that kubectl on this machine
// reaches the guest with it.
func (g *Guest) WriteKubeconfig(file string, kubeconfig []byte) error {
	lines := strings.Split(string(kubeconfig), "\n")
	for i, l := range lines {
		indent := l[:len(l)-len(strings.TrimLeft(l, " "))]
		server, ok := strings.CutPrefix(strings.TrimSpace(l), "server: https://")
		if !ok {
			continue
		}
		host, _, err := net.SplitHostPort(server)
		if err != nil {
			return fmt.Errorf("reading the guest's kubeconfig: server %q: %w", server, err)
		}
		lines[i] = fmt.Sprintf("%sserver: https://127.0.0.1:%d\n%stls-server-name: %s", indent, g.api, indent, host)
	}
	return os.WriteFile(file, []byte(strings.Join(lines, "\n")), 0o600)
}
