package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/slipway-os/slipway/pkg/diag"
	"github.com/slipway-os/slipway/pkg/status"
)

func TestStatus(t *testing.T) {
	file := filepath.Join(t.TempDir(), "slipway/status.json")
	var out bytes.Buffer
	if err := printStatus(&out, file, "text"); diag.ExitCode(err) != diag.ExitInput || !strings.Contains(err.Error(), "was a role delivered?") {
		t.Errorf("without a status: %v", err)
	}
	report := status.NewReporter(file, func(string, ...any) {}, func() time.Duration { return 0 })
	report.Step("node", "finding out name", "is a cable in?", 1, 18)
	report.Failed(errors.New("no address"), "is a cable in?", time.Second)
	if err := printStatus(&out, file, "text"); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"state  failed\n", "step   1 of 18: finding out name\n", "cause  no address\n", "next   is a cable in?\n"} {
		if !strings.Contains(out.String(), want) {
			t.Errorf("no %q in\n%s", want, out.String())
		}
	}
	out.Reset()
	if err := printStatus(&out, file, "json"); err != nil {
		t.Fatal(err)
	}
	// What scripts read: these names stay.
	var fields map[string]any
	if err := json.Unmarshal(out.Bytes(), &fields); err != nil {
		t.Fatal(err)
	}
	for name, want := range map[string]any{"state": "failed", "step": "node", "number": 1.0, "of": 18.0, "cause": "no address", "next": "is a cable in?"} {
		if fields[name] != want {
			t.Errorf("%s is %v, want %v", name, fields[name], want)
		}
	}
	if err := printStatus(&out, file, "xml"); diag.ExitCode(err) != diag.ExitInput {
		t.Errorf("xml: %v", err)
	}
	if err := os.WriteFile(file, []byte("{"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := printStatus(&out, file, "json"); err == nil || !strings.Contains(err.Error(), file) {
		t.Errorf("torn: %v", err)
	}
}

func TestCommands(t *testing.T) {
	root := newRootCommand()
	var names []string
	for _, c := range root.Commands() {
		names = append(names, c.Name())
	}
	if got := strings.Join(names, " "); got != "configure seed status user-data warm" {
		t.Errorf("commands %s", got)
	}
	for _, args := range [][]string{{"status", "extra"}, {"nonsense"}, {"status", "--nonsense"}, {"status", "--output", "xml"}} {
		root := newRootCommand()
		root.SetArgs(args)
		if err := root.ExecuteContext(t.Context()); diag.ExitCode(err) != diag.ExitInput {
			t.Errorf("%v: %v", args, err)
		}
	}
}
