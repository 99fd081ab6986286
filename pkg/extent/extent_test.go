package extent_test

import (
	"strings"
	"testing"
	"testing/iotest"

	"github.com/slipway-os/slipway/pkg/extent"
)

func TestReader(t *testing.T) {
	disk := strings.NewReader("0123456789")
	for _, c := range []struct {
		name    string
		extents []extent.Extent
		want    string
	}{
		{"none", nil, ""},
		{"one", []extent.Extent{{2, 3}}, "234"},
		{"in any order", []extent.Extent{{7, 3}, {0, 1}, {3, 2}}, "789034"},
		{"an empty one", []extent.Extent{{1, 2}, {5, 0}, {4, 1}}, "124"},
		{"the same twice", []extent.Extent{{0, 2}, {0, 2}}, "0101"},
	} {
		t.Run(c.name, func(t *testing.T) {
			if err := iotest.TestReader(extent.Reader(disk, c.extents), []byte(c.want)); err != nil {
				t.Error(err)
			}
		})
	}
}

func TestAppendJoinsNeighbours(t *testing.T) {
	var list []extent.Extent
	for _, e := range []extent.Extent{{0, 2}, {2, 3}, {6, 1}, {7, 1}, {5, 1}} {
		list = extent.Append(list, e)
	}
	want := []extent.Extent{{0, 5}, {6, 2}, {5, 1}}
	if len(list) != len(want) || list[0] != want[0] || list[1] != want[1] || list[2] != want[2] {
		t.Errorf("got %v, want %v", list, want)
	}
}

func TestShortDisk(t *testing.T) {
	r := extent.Reader(strings.NewReader("0123"), []extent.Extent{{2, 10}})
	b := make([]byte, 10)
	if n, err := r.ReadAt(b, 0); n != 2 || err == nil {
		t.Errorf("%d bytes, %v", n, err)
	}
}
