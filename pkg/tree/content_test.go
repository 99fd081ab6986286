package tree_test

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"testing"

	"github.com/slipway-os/slipway/pkg/tree"
)

func TestContentIsComparedWithItsDigest(t *testing.T) {
	file := filepath.Join(t.TempDir(), "x")
	if err := os.WriteFile(file, []byte("..sound.."), 0o644); err != nil {
		t.Fatal(err)
	}
	digest := tree.String("sound").Digest()
	for _, c := range []struct {
		name         string
		content      tree.Content
		want         string
		damaged, bad bool
	}{
		{"nothing", nil, "", false, false},
		{"in memory", tree.String("sound"), "sound", false, false},
		{"part of a file", tree.Section(file, 2, 5, digest), "sound", false, false},
		{"another part", tree.Section(file, 1, 5, digest), "", true, true},
		{"cut off", tree.Section(file, 7, 5, digest), "", true, true},
		{"gone", tree.Section(file+"y", 0, 5, digest), "", false, true},
	} {
		t.Run(c.name, func(t *testing.T) {
			var b bytes.Buffer
			err := tree.Copy(&b, c.content)
			data, readErr := tree.ReadAll(c.content, 5)
			for _, err := range []error{err, readErr} {
				var damaged *tree.DamagedError
				if (err != nil) != c.bad || errors.As(err, &damaged) != c.damaged {
					t.Errorf("error %v", err)
				}
			}
			if !c.bad && (b.String() != c.want || string(data) != c.want) {
				t.Errorf("got %q and %q", b.String(), data)
			}
		})
	}
	if _, err := tree.ReadAll(tree.String("six..."), 5); err == nil {
		t.Error("read more than the limit")
	}
}
