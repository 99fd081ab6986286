package ethernet

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/netip"
	"os/exec"
	"strings"
	"sync"
	"syscall"
	"time"
)

// emulator is one of QEMU's programs; any would do, as there is no machine.
const emulator = "qemu-system-x86_64"

// Gateway is QEMU's user network, without a machine, at a port of a switch.
// It leads connections to this machine's loopback into the network, and
// nothing out of it. It has the addresses 10.0.2.2, from which such
// connections come, and 10.0.2.3; by DHCP it hands out 10.0.2.200 and the next
// ones of 10.0.2.0/24, and it announces the prefix fd00:51::/64.
type Gateway struct {
	cmd    *exec.Cmd
	stderr bytes.Buffer

	mu       sync.Mutex
	commands io.WriteCloser
	answers  *json.Decoder
}

// StartGateway starts a gateway. The socket is that of a QuietPort. Cancelling
// ctx ends it.
func StartGateway(ctx context.Context, socket string) (*Gateway, error) {
	g := &Gateway{cmd: exec.CommandContext(ctx, emulator, "-M", "none", "-nodefaults", "-no-user-config", "-display", "none", "-qmp", "stdio",
		"-netdev", "user,id=user,restrict=on,dhcpstart=10.0.2.200,ipv6-net=fd00:51::/64",
		"-netdev", "stream,id=switch,server=off,addr.type=unix,addr.path="+strings.ReplaceAll(socket, ",", ",,"),
		"-netdev", "hubport,id=inner,hubid=0,netdev=user",
		"-netdev", "hubport,id=outer,hubid=0,netdev=switch")}
	g.cmd.Stderr = &g.stderr
	g.cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	g.cmd.WaitDelay = time.Second
	stdin, err := g.cmd.StdinPipe()
	if err != nil {
		return nil, err
	}
	stdout, err := g.cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	if err := g.cmd.Start(); err != nil {
		return nil, fmt.Errorf("starting the gateway: %w", err)
	}
	g.commands, g.answers = stdin, json.NewDecoder(stdout)
	if _, err := g.execute("qmp_capabilities", nil); err != nil {
		g.Close()
		return nil, fmt.Errorf("starting the gateway: %w: %s", err, bytes.TrimSpace(g.stderr.Bytes()))
	}
	return g, nil
}

// Forward leads a TCP port of this machine's loopback to an IPv4 address of the network.
func (g *Gateway) Forward(port int, to netip.AddrPort) error {
	rule := fmt.Sprintf("tcp:127.0.0.1:%d-%s", port, to)
	answer, err := g.execute("human-monitor-command", map[string]string{"command-line": "hostfwd_add user " + rule})
	if err == nil && len(answer) > 0 {
		err = errors.New(strings.TrimSpace(answer))
	}
	if err != nil {
		return fmt.Errorf("forwarding %s: %w", rule, err)
	}
	return nil
}

// execute has QEMU execute a command of its machine protocol (QEMU's
// docs/interop/qmp-spec), and returns the text that answers it, if it is one.
func (g *Gateway) execute(command string, arguments any) (string, error) {
	g.mu.Lock()
	defer g.mu.Unlock()
	data, err := json.Marshal(struct {
		Execute   string `json:"execute"`
		Arguments any    `json:"arguments,omitempty"`
	}{command, arguments})
	if err != nil {
		return "", err
	}
	if _, err := g.commands.Write(data); err != nil {
		return "", err
	}
	for { // its greeting and events come between
		var a struct {
			Return any `json:"return"`
			Error  *struct {
				Desc string `json:"desc"`
			} `json:"error"`
		}
		if err := g.answers.Decode(&a); err != nil {
			return "", fmt.Errorf("reading QEMU's answer to %s: %w", command, err)
		}
		if a.Error != nil {
			return "", fmt.Errorf("QEMU answers %s with %q", command, a.Error.Desc)
		}
		if a.Return != nil {
			text, _ := a.Return.(string)
			return text, nil
		}
	}
}

// Close ends the gateway.
func (g *Gateway) Close() {
	g.cmd.Process.Kill()
	g.cmd.Wait()
}
