package userdata_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/coreos/ignition/v2/internal/userdata"
)

// The program is a script here: that it is run as it is to be.
func program(t *testing.T, text string) string {
	t.Helper()
	name := filepath.Join(t.TempDir(), "firstboot")
	if err := os.WriteFile(name, []byte("#!/bin/sh\n"+text), 0o755); err != nil {
		t.Fatal(err)
	}
	return name
}

func TestTranslate(t *testing.T) {
	for _, c := range []struct{ name, script, want, refused string }{
		{"what it becomes", "test \"$1\" = user-data && tr a-z A-Z", "DATA", ""},
		{"nothing that it knows", "cat > /dev/null", "", ""},
		{"refused", "cat > /dev/null; echo user-data:1:1: no >&2; exit 2", "", "translating user data: exit status 2: user-data:1:1: no"},
	} {
		t.Run(c.name, func(t *testing.T) {
			got, err := userdata.Translate(program(t, c.script), []byte("data"))
			if err == nil && c.refused != "" || err != nil && err.Error() != c.refused {
				t.Errorf("error %v, want %q", err, c.refused)
			}
			if string(got) != c.want || (got == nil) != (c.want == "") {
				t.Errorf("got %q, want %q", got, c.want)
			}
		})
	}
	if _, err := userdata.Translate("/nonexistent", nil); err == nil || !strings.Contains(err.Error(), "no such file") {
		t.Errorf("without the program: %v", err)
	}
}
