package manifest_test

import (
	"encoding/json"
	"testing"

	"github.com/slipway-os/slipway/pkg/manifest"
)

// The documents are read by programs of other versions than wrote them: the
// names of their fields stay.
func TestTheNamesOfFieldsStay(t *testing.T) {
	for _, c := range []struct {
		document any
		want     string
	}{
		{manifest.Initrd{RootHash: "a", DataBlocks: 1, Salt: "b", Epoch: 2, Architecture: "c", Profile: "d"},
			`{"rootHash":"a","dataBlocks":1,"salt":"b","epoch":2,"architecture":"c","profile":"d"}`},
		{manifest.Image{Profile: "a", Architecture: "b", Epoch: 1, KernelRelease: "c", KubernetesVersion: "d", ImageRepository: "e", Images: []string{"f"}, Roles: []string{"g"}},
			`{"profile":"a","architecture":"b","epoch":1,"kernelRelease":"c","kubernetesVersion":"d","imageRepository":"e","images":["f"],"roles":["g"]}`},
	} {
		got, err := json.Marshal(c.document)
		if err != nil || string(got) != c.want {
			t.Errorf("got  %s, %v\nwant %s", got, err, c.want)
		}
	}
}
