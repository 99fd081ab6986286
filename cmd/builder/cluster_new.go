package main

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"time"

	"github.com/spf13/cobra"

	"github.com/slipway-os/slipway/pkg/diag"
	"github.com/slipway-os/slipway/pkg/durable"
	"github.com/slipway-os/slipway/pkg/pki"
	"github.com/slipway-os/slipway/pkg/secrets"
)

type newFlags struct {
	name, out, algorithm string
	accountKey           string
	external             bool
	recipients           []string
	authorities          []*givenAuthority
}

// givenAuthority is an authority that the user may bring.
type givenAuthority struct {
	name, flag string // kubeadm's name, and the beginning of the flags'
	cert, key  string // files
}

func newClusterNewCommand() *cobra.Command {
	f := newFlags{authorities: []*givenAuthority{
		{name: "ca", flag: "ca"}, {name: "etcd/ca", flag: "etcd-ca"}, {name: "front-proxy-ca", flag: "front-proxy-ca"},
	}}
	c := &cobra.Command{
		Use:   "new",
		Short: "Make the secrets of a new cluster",
		Long: `new makes what a cluster is founded on: its authorities, the key of service
accounts, and the seed of all other keys. The file can never be made again, and
whoever reads it owns the cluster: encrypt it with --age-recipient, and keep a
copy.`,
		Example: `  builder cluster new --name demo --out demo.secrets.yaml
  builder cluster new --name demo --age-recipient age1… --out demo.secrets.yaml.age
  builder cluster new --name demo --ca-cert ca.crt --ca-key ca.key --out demo.secrets.yaml
  builder cluster new --name demo --external-ca --ca-cert ca.crt --out demo.secrets.yaml`,
		Args: noneBut("name"),
		RunE: func(c *cobra.Command, _ []string) error { return newCluster(c.OutOrStdout(), f) },
	}
	c.Flags().StringVar(&f.name, "name", "", "name of the cluster, a DNS label (required)")
	c.Flags().StringVar(&f.out, "out", "cluster.secrets.yaml", "file to write, readable by its owner alone; it must not be there yet")
	c.Flags().StringVar(&f.algorithm, "algorithm", string(pki.DefaultAlgorithm), "kind of the keys of authorities and service accounts, by kubeadm's name: ECDSA-P256, ECDSA-P384, RSA-2048, RSA-3072 or RSA-4096")
	c.Flags().StringArrayVar(&f.recipients, "age-recipient", nil, "encrypt the file to this age recipient; may be given again")
	for _, a := range f.authorities {
		c.Flags().StringVar(&a.cert, a.flag+"-cert", "", "certificate of your own authority, in the place of "+a.name)
		c.Flags().StringVar(&a.key, a.flag+"-key", "", "its key")
	}
	c.Flags().BoolVar(&f.external, "external-ca", false, "an authority that is given without a key is kept elsewhere, and signs there")
	c.Flags().StringVar(&f.accountKey, "sa-key", "", "your own key of service accounts")
	return c
}

func newCluster(w io.Writer, f newFlags) error {
	if f.name == "" {
		return diag.Inputf("--name must be given; see 'builder cluster new --help'")
	}
	if !pki.Algorithm(f.algorithm).Known() {
		return diag.Inputf("--algorithm %q: ECDSA-P256, ECDSA-P384, RSA-2048, RSA-3072 or RSA-4096", f.algorithm)
	}
	if info, err := os.Lstat(f.out); err == nil && info.IsDir() {
		return diag.Inputf("--out %s: is a directory; name another", f.out)
	} else if err == nil {
		return alreadyThere(f.out)
	}
	o := secrets.Options{Cluster: f.name, Algorithm: pki.Algorithm(f.algorithm), Authorities: map[string]pki.Pair{}, Now: time.Now()}
	external := false
	for _, a := range f.authorities {
		if a.cert == "" && a.key == "" {
			continue
		}
		elsewhere := a.cert != "" && a.key == "" && f.external
		if (a.cert == "" || a.key == "") && !elsewhere {
			return diag.Inputf("--%s-cert and --%[1]s-key go together (without the key, the authority is one that signs elsewhere: --external-ca)", a.flag)
		}
		external = external || elsewhere
		pair, err := a.read()
		if err != nil {
			return err
		}
		o.Authorities[a.name] = pair
	}
	if f.external && !external {
		return diag.Inputf("--external-ca: give the certificate of the authority that signs elsewhere, without a key: --ca-cert")
	}
	if f.accountKey != "" {
		var err error
		if o.AccountKey, err = os.ReadFile(f.accountKey); err != nil {
			return diag.Inputf("reading the key of service accounts: %w", err)
		}
	}
	s, err := secrets.New(o)
	if err != nil {
		return err
	}
	data, err := s.Marshal()
	if err != nil {
		return err
	}
	if len(f.recipients) > 0 {
		if data, err = secrets.Encrypt(data, f.recipients); err != nil {
			return err
		}
	}
	err = durable.WriteNew(f.out, data, 0o600)
	if errors.Is(err, fs.ErrExist) {
		return alreadyThere(f.out)
	}
	if err != nil {
		return diag.IO(err)
	}
	how := "not encrypted"
	if len(f.recipients) > 0 {
		how = "encrypted"
	}
	_, err = fmt.Fprintf(w, "%s: the secrets of cluster %q, %s; nobody can make them again: keep a copy\n", f.out, f.name, how)
	return diag.IO(err)
}

// read reads the certificate and, if there is one, the key.
func (a *givenAuthority) read() (p pki.Pair, err error) {
	if p.Public, err = os.ReadFile(a.cert); err != nil {
		return p, diag.Inputf("reading an authority's certificate: %w", err)
	}
	if a.key != "" {
		if p.Key, err = os.ReadFile(a.key); err != nil {
			return p, diag.Inputf("reading an authority's key: %w", err)
		}
	}
	return p, nil
}

func alreadyThere(name string) error {
	return diag.At(diag.Position{File: name}, "remove it yourself if no cluster needs it any more, or choose another --out", "is there already, and the secrets in it could not be made again")
}
