package fetch

import (
	"context"
	"fmt"
	"io"

	"github.com/slipway-os/slipway/pkg/diag"
)

// Get returns a small file whose digest nobody knows beforehand, such as a
// signed index. The caller must verify it. More than limit bytes is an error.
func (c *Client) Get(ctx context.Context, address string, limit int64) ([]byte, error) {
	if c.Offline {
		return nil, diag.Dependencyf("downloading %s: not while offline", redact(address))
	}
	var data []byte
	err := c.retry(ctx, func() (bool, error) {
		body, err := c.open(ctx, address, 0)
		if err != nil {
			return false, err
		}
		defer body.Close()
		if data, err = io.ReadAll(io.LimitReader(body, limit+1)); err != nil {
			return false, err
		}
		if int64(len(data)) > limit {
			return false, permanent{fmt.Errorf("more than %d bytes", limit)}
		}
		return true, nil
	})
	if err != nil {
		return nil, explain(ctx, address, err)
	}
	return data, nil
}
