package ignition

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// runner returns a runner and what it says.
func runner() (*Runner, *[]string) {
	said := &[]string{}
	return &Runner{env: []string{"PATH=/usr/bin:/bin"}, Say: func(format string, args ...any) {
		*said = append(*said, fmt.Sprintf(format, args...))
	}}, said
}

func TestAProgramThatFails(t *testing.T) {
	r, said := runner()
	r.raw = []byte(`{"passwd":{"users":[{"name":"core","passwordHash":"hunter2hunter2"}]}}`)
	err := r.run(t.Context(), "/bin/sh", "-c", `echo "INFO     : all is well"
		echo "CRITICAL : op(1): cannot make user \"core\" with hunter2hunter2"
		echo "Full config:" >&2; echo "  \"passwordHash\": \"hunter2hunter2\"" >&2
		echo "CRITICAL : Ignition failed: cannot make user \"core\" with hunter2hunter2"; exit 3`)
	var exit *exec.ExitError
	if !errors.As(err, &exit) || exit.ExitCode() != 3 {
		t.Fatalf("got %v", err)
	}
	if want := `exit status 3: op(1): cannot make user "core" with […]`; err.Error() != want {
		t.Errorf("got %v, want %s", err, want)
	}
	want := []string{`  CRITICAL : op(1): cannot make user "core" with […]`, `  CRITICAL : Ignition failed: cannot make user "core" with […]`}
	if !slices.Equal(*said, want) {
		t.Errorf("said %q, want %q", *said, want)
	}
}

func TestAProgramThatSucceeds(t *testing.T) {
	r, said := runner()
	if err := r.run(t.Context(), "/bin/sh", "-c", "echo error: not really"); err != nil || len(*said) > 0 {
		t.Errorf("%v, said %q", err, *said)
	}
	if err := r.run(t.Context(), "/nowhere/program"); err == nil || !strings.Contains(err.Error(), "/nowhere/program") {
		t.Errorf("got %v", err)
	}
}

// The root cannot be written to: where a program runs, it can.
func TestAProgramWritesWhereItRuns(t *testing.T) {
	r, _ := runner()
	r.dir = t.TempDir()
	must(t, r.run(t.Context(), "/bin/sh", "-c", "echo right > spooled.ign"))
	if data, err := os.ReadFile(filepath.Join(r.dir, "spooled.ign")); string(data) != "right\n" {
		t.Errorf("%q, %v", data, err)
	}
}

func TestAProgramIsEndedWithItsContext(t *testing.T) {
	r, _ := runner()
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := r.run(ctx, "/bin/sleep", "1000"); err == nil {
		t.Error("no error")
	}
}

func TestTail(t *testing.T) {
	var out tail
	out.Write([]byte("short\n"))
	if text, cut := out.text(); text != "short\n" || cut {
		t.Errorf("%q, cut %v", text, cut)
	}
	for i := range 100_000 {
		fmt.Fprintf(&out, "line %d\n", i)
	}
	text, cut := out.text()
	if !cut || len(text) > 2*maxKept || !strings.HasSuffix(text, "line 99999\n") {
		t.Errorf("%d bytes, cut %v", len(text), cut)
	}
}

func TestReason(t *testing.T) {
	for _, c := range []struct {
		lines []string
		want  string
	}{
		{nil, ""},
		{[]string{"WARNING  : failed to fetch config: x"}, ""},
		{[]string{"CRITICAL : first", "CRITICAL : failed to acquire config: x", "CRITICAL : Ignition failed: x"}, "failed to acquire config: x"},
		{[]string{"CRITICAL : something else", "CRITICAL : Ignition failed: failed to create users: x"}, "failed to create users: x"},
		{[]string{"CRITICAL : Ignition failed: x"}, "x"},
		{[]string{"CRITICAL : failed to generate fetcher: x"}, "failed to generate fetcher: x"},
	} {
		if got := reason(c.lines); got != c.want {
			t.Errorf("%q: got %q, want %q", c.lines, got, c.want)
		}
	}
}

// What Ignition 2.26.0 prints when its files stage fails.
func TestARealFailure(t *testing.T) {
	output, err := os.ReadFile("testdata/files-failed.txt")
	must(t, err)
	config, err := os.ReadFile("testdata/files-failed.ign")
	must(t, err)
	got := newRedactor(config).lines(string(output), false)
	want := []string{"files failed", `CRITICAL : Ignition failed: failed to create users/groups: failed to configure users: failed to create user "core": looking up "core": openat etc/passwd: not a directory`}
	if !slices.Equal(got, want) {
		t.Errorf("told\n%s", strings.Join(got, "\n"))
	}
	if why := reason(got); !strings.HasPrefix(why, "failed to create users/groups") {
		t.Errorf("reason %q", why)
	}
}

// networkd's state, as its documentation shows it.
func TestResolvConf(t *testing.T) {
	for in, want := range map[string]string{
		"": "",
		"OPER_STATE=routable\nDNS=192.0.2.53 2001:db8::53\nNTP=192.0.2.1\n": "nameserver 192.0.2.53\nnameserver 2001:db8::53\n",
		"DNS=fe80::1%eth0\n":                        "nameserver fe80::1%eth0\n",
		"DNS=192.0.2.53#dns.example.net nonsense\n": "nameserver 192.0.2.53\n",
		"DNS=\n": "",
	} {
		if got := string(resolvConf([]byte(in))); got != want {
			t.Errorf("%q: got %q, want %q", in, got, want)
		}
	}
}

// Ignition's own account of what it fetched (its internal/state).
func TestDelivered(t *testing.T) {
	for in, want := range map[string]bool{
		`{"fetchedConfigs":[{"kind":"base","source":"system","referenced":false},{"kind":"user","source":"qemu","referenced":false}]}`: true,
		`{"fetchedConfigs":[{"kind":"base","source":"system","referenced":false}]}`:                                                    false,
		`{"fetchedConfigs":null}`: false,
		`{}`:                      false,
		``:                        false,
	} {
		if got := delivered([]byte(in)); got != want {
			t.Errorf("%s: %v", in, got)
		}
	}
}

func TestOwner(t *testing.T) {
	file := filepath.Join(t.TempDir(), "passwd")
	write(t, file, "root:x:0:0:root:/root:/bin/sh\nbroken:x:a:b\nsystemd-network:x:998:997:x:/:/usr/sbin/nologin\nshort:x\n")
	if uid, gid, err := owner(file, "systemd-network"); uid != 998 || gid != 997 || err != nil {
		t.Errorf("got %d, %d, %v", uid, gid, err)
	}
	for _, name := range []string{"nobody", "broken", "short", ""} {
		if _, _, err := owner(file, name); err == nil {
			t.Errorf("%q was found", name)
		}
	}
	if _, _, err := owner("/nowhere", "root"); err == nil {
		t.Error("read from nowhere")
	}
}
