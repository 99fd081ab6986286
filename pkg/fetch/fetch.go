// Package fetch downloads files of known digest into the store: in parallel,
// resumed where they were cut off, tried again when the network fails, and
// verified.
package fetch

import (
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/slipway-os/slipway/pkg/diag"
	"github.com/slipway-os/slipway/pkg/store"
	"github.com/slipway-os/slipway/pkg/tree"
)

// Item is a file to fetch.
type Item struct {
	URL    string // http, https or file
	Size   int64  // in bytes; 0 if it is not known
	SHA256 string // in hexadecimal
}

// Options are the settings of a client; the zero value is what builds use.
type Options struct {
	Offline  bool          // use what the store holds, and nothing else
	Parallel int           // downloads at once; default 6
	Attempts int           // to get on before giving up; default 5
	Backoff  time.Duration // before the second attempt, doubled for each other; default 500 ms
	Stall    time.Duration // without a byte until an attempt has failed; default 30 s
}

// Client fetches files into a store. Its methods may be called from any
// goroutine.
type Client struct {
	Options
	store *store.Store
	http  *http.Client
}

// New returns a client.
func New(st *store.Store, o Options) *Client {
	if o.Parallel == 0 {
		o.Parallel = 6
	}
	if o.Attempts == 0 {
		o.Attempts = 5
	}
	if o.Backoff == 0 {
		o.Backoff = 500 * time.Millisecond
	}
	if o.Stall == 0 {
		o.Stall = 30 * time.Second
	}
	transport := http.DefaultTransport.(*http.Transport).Clone()
	transport.DisableCompression = true // what is hashed is what the server has
	transport.MaxIdleConnsPerHost = o.Parallel
	transport.RegisterProtocol("file", http.NewFileTransport(http.Dir("/")))
	return &Client{Options: o, store: st, http: &http.Client{Transport: transport, CheckRedirect: redirect}}
}

const maxRedirects = 10

// redirect follows a server to other servers, not to this machine's files.
func redirect(to *http.Request, via []*http.Request) error {
	switch {
	case len(via) == maxRedirects:
		return permanent{fmt.Errorf("more than %d redirects", maxRedirects)}
	case to.URL.Scheme != "http" && to.URL.Scheme != "https":
		return permanent{fmt.Errorf("the server redirects to a %s address", to.URL.Scheme)}
	}
	return nil
}

// Fetch returns the items' contents, in their order. What the store does not
// hold it downloads. Progress, which may be nil, is called from several
// goroutines with the bytes that have come since the last call; the number is
// negative when a download starts over.
func (c *Client) Fetch(ctx context.Context, items []Item, progress func(bytes int64)) ([]tree.Content, error) {
	if progress == nil {
		progress = func(int64) {}
	}
	contents := make([]tree.Content, len(items))
	digests := make([]tree.Digest, len(items))
	var missing []int
	for i, item := range items {
		sum, err := hex.DecodeString(item.SHA256)
		if err != nil || len(sum) != len(digests[i]) {
			return nil, diag.Inputf("fetching %s: %q is not a sha256", redact(item.URL), item.SHA256)
		}
		digests[i] = tree.Digest(sum)
		contents[i], err = c.held(digests[i], item)
		switch {
		case err == nil:
			progress(contents[i].Size())
		case errors.Is(err, store.ErrMissing):
			missing = append(missing, i)
		default:
			return nil, err
		}
	}
	if c.Offline && len(missing) > 0 {
		return nil, offline(items, missing)
	}
	group, ctx := errgroup.WithContext(ctx)
	group.SetLimit(c.Parallel)
	for _, i := range missing {
		group.Go(func() (err error) {
			contents[i], err = c.one(ctx, items[i], digests[i], progress)
			return err
		})
	}
	if err := group.Wait(); err != nil {
		return nil, err
	}
	return contents, nil
}

// held returns what the store holds of an item, or store.ErrMissing.
func (c *Client) held(d tree.Digest, item Item) (tree.Content, error) {
	size := item.Size
	if size == 0 {
		size = -1
	}
	return c.store.Blob(d, size)
}

func offline(items []Item, missing []int) error {
	const most = 3
	var names []string
	for _, i := range missing[:min(len(missing), most)] {
		names = append(names, redact(items[i].URL))
	}
	list := strings.Join(names, ", ")
	if n := len(missing) - most; n > 0 {
		list += fmt.Sprintf(" and %d more", n)
	}
	return diag.Dependencyf("not in the store: %s; build once without --offline", list)
}

// one downloads an item, unless somebody else has done so by the time the
// item's lock is free.
func (c *Client) one(ctx context.Context, item Item, d tree.Digest, progress func(int64)) (tree.Content, error) {
	unlock, err := c.store.Lock(ctx, "fetch/"+d.String())
	if err != nil {
		return nil, err
	}
	defer unlock()
	content, err := c.held(d, item)
	if err == nil {
		progress(content.Size())
	}
	if !errors.Is(err, store.ErrMissing) {
		return content, err
	}
	w, err := c.store.Resume(d.String())
	if err != nil {
		return nil, err
	}
	defer w.Suspend()
	progress(w.Size())
	t := &transfer{client: c, item: item, digest: d, w: w, progress: progress}
	if err := t.run(ctx); err != nil {
		return nil, t.explain(ctx, err)
	}
	return w.Commit()
}
