package podnet

import (
	"os"
	"os/exec"
	"runtime"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

// clusters are pod and service subnets.
var clusters = []struct {
	name           string
	pods, services []string
}{
	{"ipv4", []string{"10.244.0.0/16"}, []string{"10.96.0.0/12"}},
	{"ipv6", []string{"fd00:10:244::/56"}, []string{"fd00:10:96::/112"}},
	{"dual", []string{"10.244.0.0/16", "fd00:10:244::/56"}, []string{"10.96.0.0/16", "fd00:10:96::/112"}},
	{"services", nil, []string{"10.96.0.0/12"}}, // no pod network of ours
}

func TestRules(t *testing.T) {
	for _, c := range clusters {
		t.Run(c.name, func(t *testing.T) {
			text := rules(c.pods, c.services)
			golden(t, c.name+".nft", []byte(text))
			// Nothing but its own table, and masquerading only of what pods send
			// to others than pods.
			for _, line := range strings.Split(text, "\n") {
				line = strings.TrimSpace(line)
				if strings.Contains(line, "table") && !strings.Contains(line, "table inet slipway") || strings.Contains(line, "flush") {
					t.Errorf("another table: %s", line)
				}
				if strings.Contains(line, "masquerade") && (!strings.Contains(line, " saddr ") || !strings.Contains(line, " daddr != ")) {
					t.Errorf("masquerades too much: %s", line)
				}
			}
		})
	}
}

// nft runs the judge.
func nft(t *testing.T, input string, args ...string) string {
	t.Helper()
	cmd := exec.Command("nft", args...)
	cmd.Stdin = strings.NewReader(input)
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("nft %v: %v: %s", args, err, out)
	}
	return string(out)
}

// The kernel takes the rules, as often as one likes, and other tables stay.
func TestTheKernelTakesTheRules(t *testing.T) {
	if _, err := exec.LookPath("nft"); err != nil {
		t.Skip("nft is missing, which hands the kernel the rules: `make judges` installs it, and `make test` does so first")
	}
	if os.Getuid() != 0 {
		t.Skip("needs root: it makes a network namespace")
	}
	runtime.LockOSThread() // and never unlocked: the thread ends with the test
	if err := unix.Unshare(unix.CLONE_NEWNET); err != nil {
		t.Skipf("needs a network namespace: %v", err)
	}
	nft(t, "table inet theirs {\n chain c {\n type filter hook input priority filter; policy accept;\n tcp dport 22 accept\n }\n}\n", "-f", "-")
	theirs := nft(t, "", "list", "table", "inet", "theirs")
	for _, c := range clusters {
		var listed string
		for range 2 {
			nft(t, rules(c.pods, c.services), "-f", "-")
			now := nft(t, "", "list", "table", "inet", "slipway")
			if listed != "" && now != listed {
				t.Errorf("%s: a second time there is\n%s\nafter\n%s", c.name, now, listed)
			}
			listed = now
		}
		if n := strings.Count(listed, "masquerade"); n != len(c.pods) {
			t.Errorf("%s: %d rules masquerade:\n%s", c.name, n, listed)
		}
	}
	if now := nft(t, "", "list", "table", "inet", "theirs"); now != theirs {
		t.Errorf("another's table became\n%s", now)
	}
}
