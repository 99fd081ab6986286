package store_test

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/slipway-os/slipway/pkg/store"
)

func TestScrubDropsWhatIsDamaged(t *testing.T) {
	s := open(t)
	sound, err := s.Put(strings.NewReader("sound"))
	if err != nil {
		t.Fatal(err)
	}
	rotten, err := s.Put(strings.NewReader("rotten"))
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(s.BlobPath(rotten.Digest()), []byte("Rotten"), 0o644); err != nil {
		t.Fatal(err)
	}
	stray := filepath.Join(s.Dir(), "blobs", "README")
	if err := os.WriteFile(stray, nil, 0o644); err != nil {
		t.Fatal(err)
	}
	for _, want := range []int{1, 0} {
		if dropped, err := s.Scrub(t.Context()); dropped != want || err != nil {
			t.Errorf("dropped %d, not %d; %v", dropped, want, err)
		}
	}
	if _, err := s.Blob(sound.Digest(), 5); err != nil {
		t.Errorf("the sound one: %v", err)
	}
	if _, err := s.Blob(rotten.Digest(), 6); !errors.Is(err, store.ErrMissing) {
		t.Errorf("the rotten one: %v", err)
	}
	if _, err := os.Stat(stray); err != nil {
		t.Error(err)
	}
}
