// Package kubeapi asks an API server the few things Slipway wants to know,
// with the credentials of a kubeconfig, without client-go: the same code runs
// in the small program of the initrd.
package kubeapi

import (
	"context"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"

	"go.yaml.in/yaml/v3"
)

// Client talks to one API server.
type Client struct {
	server string
	token  string // "" if certificates say who asks
	http   *http.Client
}

// kubeconfig is the part of a kubeconfig that kubeadm writes.
type kubeconfig struct {
	Clusters       []kubeCluster `yaml:"clusters"`
	CurrentContext string        `yaml:"current-context"`
	Contexts       []struct {
		Name    string `yaml:"name"`
		Context struct {
			Cluster string `yaml:"cluster"`
		} `yaml:"context"`
	} `yaml:"contexts"`
	Users []struct {
		User struct {
			CertData string `yaml:"client-certificate-data"`
			CertFile string `yaml:"client-certificate"`
			KeyData  string `yaml:"client-key-data"`
			KeyFile  string `yaml:"client-key"`
		} `yaml:"user"`
	} `yaml:"users"`
}

type kubeCluster struct {
	Name    string `yaml:"name"`
	Cluster struct {
		Server string `yaml:"server"`
		CAData string `yaml:"certificate-authority-data"`
		CAFile string `yaml:"certificate-authority"`
	} `yaml:"cluster"`
}

// Dialer opens the connection to the server; nil for the ordinary one.
type Dialer func(ctx context.Context, network, address string) (net.Conn, error)

// FromKubeconfig returns a client with the first cluster and the first user
// of a kubeconfig. Its certificates are inline, but for those of a kubelet,
// which it rotates in files.
func FromKubeconfig(data []byte, dial Dialer) (*Client, error) {
	var k kubeconfig
	if err := yaml.Unmarshal(data, &k); err != nil {
		return nil, errors.New("reading kubeconfig: not valid YAML") // the parser's own words could quote a key
	}
	if len(k.Users) == 0 {
		return nil, errors.New("reading kubeconfig: it names no user")
	}
	if len(k.Clusters) == 0 {
		return nil, errors.New("reading kubeconfig: it names no cluster")
	}
	server, pool, err := k.Clusters[0].read()
	if err != nil {
		return nil, err
	}
	user := k.Users[0].User
	cert, err := inlineOrFile("client-certificate-data", user.CertData, user.CertFile)
	if err != nil {
		return nil, err
	}
	key, err := inlineOrFile("client-key-data", user.KeyData, user.KeyFile)
	if err != nil {
		return nil, err
	}
	pair, err := tls.X509KeyPair(cert, key)
	if err != nil {
		return nil, fmt.Errorf("reading kubeconfig: client certificate: %w", err)
	}
	return newClient(server, dial, &tls.Config{RootCAs: pool, Certificates: []tls.Certificate{pair}, MinVersion: tls.VersionTLS12}), nil
}

// FromDiscovery returns a client that presents a bootstrap token to the cluster
// of kubeadm's discovery file: a kubeconfig without a user, and of its clusters
// the one without a name, or else that of the current context.
func FromDiscovery(data []byte, token string) (*Client, error) {
	var k kubeconfig
	if err := yaml.Unmarshal(data, &k); err != nil {
		return nil, errors.New("reading kubeconfig: not valid YAML") // the parser's own words could quote a key
	}
	if len(k.Users) > 0 {
		return nil, errors.New("reading kubeconfig: it names a user, but the token says who asks")
	}
	meant := ""
	for _, context := range k.Contexts {
		if context.Name == k.CurrentContext {
			meant = context.Context.Cluster
		}
	}
	at := slices.IndexFunc(k.Clusters, func(c kubeCluster) bool { return c.Name == "" })
	if at < 0 {
		at = slices.IndexFunc(k.Clusters, func(c kubeCluster) bool { return c.Name == meant })
	}
	if at < 0 {
		return nil, errors.New("reading kubeconfig: it names no cluster, or several and not which by current-context")
	}
	server, pool, err := k.Clusters[at].read()
	if err != nil {
		return nil, err
	}
	c := newClient(server, nil, &tls.Config{RootCAs: pool, MinVersion: tls.VersionTLS12})
	c.token = token
	return c, nil
}

// read returns host and port of the cluster's server, and who may have signed
// its certificate.
func (c kubeCluster) read() (string, *x509.CertPool, error) {
	ca, err := inlineOrFile("certificate-authority-data", c.Cluster.CAData, c.Cluster.CAFile)
	if err != nil {
		return "", nil, err
	}
	pool := x509.NewCertPool()
	if !pool.AppendCertsFromPEM(ca) {
		return "", nil, errors.New("reading kubeconfig: certificate-authority-data holds no certificate")
	}
	server, err := url.Parse(c.Cluster.Server)
	if err != nil || server.Scheme != "https" {
		return "", nil, fmt.Errorf("reading kubeconfig: server %q is no https address", c.Cluster.Server)
	}
	return server.Host, pool, nil
}

// Unverified returns a client without credentials that takes any server's word
// for who it is: good for what is public, and is verified otherwise.
func Unverified(server string) *Client {
	return newClient(server, nil, &tls.Config{InsecureSkipVerify: true, MinVersion: tls.VersionTLS12})
}

// SignedBy returns a client without credentials that talks to servers whose
// certificate an authority (PEM) has signed, be it expired by this machine's
// clock or for another name: good for finding out whose a server is.
func SignedBy(authority []byte, server string) (*Client, error) {
	var known []*x509.Certificate
	for block, rest := pem.Decode(authority); block != nil; block, rest = pem.Decode(rest) {
		cert, err := x509.ParseCertificate(block.Bytes)
		if err != nil {
			return nil, fmt.Errorf("reading the authority of the cluster: %w", err)
		}
		known = append(known, cert)
	}
	verify := func(s tls.ConnectionState) error {
		for _, ca := range known {
			if s.PeerCertificates[0].CheckSignatureFrom(ca) == nil {
				return nil
			}
		}
		return ErrUnknownAuthority
	}
	return newClient(server, nil, &tls.Config{InsecureSkipVerify: true, VerifyConnection: verify, MinVersion: tls.VersionTLS12}), nil
}

// ByToken returns a client that presents a bootstrap token to a server whose
// certificate one of the authorities in a kubeconfig has signed: one of those
// that have a digest of the given ones ("sha256:" and that of the public key),
// for anybody may have made the kubeconfig.
func ByToken(server, token string, config []byte, digests []string) (*Client, error) {
	var k kubeconfig
	if err := yaml.Unmarshal(config, &k); err != nil || len(k.Clusters) == 0 {
		return nil, errors.New("reading kubeconfig: it names no cluster")
	}
	data, err := decode("certificate-authority-data", k.Clusters[0].Cluster.CAData)
	if err != nil {
		return nil, err
	}
	pool, known := x509.NewCertPool(), false
	for block, rest := pem.Decode(data); block != nil; block, rest = pem.Decode(rest) {
		cert, err := x509.ParseCertificate(block.Bytes)
		if err == nil && slices.Contains(digests, fmt.Sprintf("sha256:%x", sha256.Sum256(cert.RawSubjectPublicKeyInfo))) {
			pool.AddCert(cert)
			known = true
		}
	}
	if !known {
		return nil, ErrUnknownAuthority
	}
	c := newClient(server, nil, &tls.Config{RootCAs: pool, MinVersion: tls.VersionTLS12})
	c.token = token
	return c, nil
}

// ErrUnknownAuthority is a cluster whose authority has none of the digests that
// were given.
var ErrUnknownAuthority = errors.New("the digest of its authority is none of those that were given")

func newClient(server string, dial Dialer, config *tls.Config) *Client {
	return &Client{
		server: "https://" + server,
		http: &http.Client{
			Timeout:   30 * time.Second,
			Transport: &http.Transport{DialContext: dial, IdleConnTimeout: 30 * time.Second, TLSClientConfig: config},
		},
	}
}

// Server returns the address that the client asks: host and port.
func (c *Client) Server() string { return strings.TrimPrefix(c.server, "https://") }

// Close ends idle connections.
func (c *Client) Close() { c.http.CloseIdleConnections() }

// What is read of an answer, in bytes, and what is told of one that is an error.
const (
	maxAnswer = 64 << 20
	maxError  = 64 << 10
	maxTold   = 300
)

// Get reads an object of the API into v.
func (c *Client) Get(ctx context.Context, path string, v any) error {
	data, err := c.do(ctx, http.MethodGet, path, "", nil)
	if err != nil {
		return err
	}
	if err := json.Unmarshal(data, v); err != nil {
		return fmt.Errorf("reading %s: %w", path, err)
	}
	return nil
}

// StatusError is an answer other than success.
type StatusError struct {
	Code    int
	Message string
}

func (e *StatusError) Error() string {
	if e.Message == "" {
		return fmt.Sprintf("the API server says %d %s", e.Code, http.StatusText(e.Code))
	}
	return fmt.Sprintf("the API server says %d: %s", e.Code, e.Message)
}

// IsNotFound says whether an error is the answer that there is no such thing.
func IsNotFound(err error) bool {
	var status *StatusError
	return errors.As(err, &status) && status.Code == http.StatusNotFound
}

// Send sends an object of the API (POST, PUT, PATCH with its content type).
func (c *Client) Send(ctx context.Context, method, path, contentType string, body io.Reader) ([]byte, error) {
	return c.do(ctx, method, path, contentType, body)
}

func (c *Client) do(ctx context.Context, method, path, contentType string, body io.Reader) ([]byte, error) {
	req, err := http.NewRequestWithContext(ctx, method, c.server+path, body)
	if err != nil {
		return nil, fmt.Errorf("asking for %s: %w", path, err)
	}
	if contentType != "" {
		req.Header.Set("Content-Type", contentType)
	}
	if c.token != "" {
		req.Header.Set("Authorization", "Bearer "+c.token)
	}
	resp, err := c.http.Do(req)
	if err != nil {
		return nil, fmt.Errorf("asking for %s: %w", path, err)
	}
	defer resp.Body.Close()
	if resp.StatusCode/100 != 2 {
		// What is wrong with the body is nothing against what it tells of.
		data, _ := io.ReadAll(io.LimitReader(resp.Body, maxError))
		return nil, &StatusError{Code: resp.StatusCode, Message: message(data)}
	}
	data, err := io.ReadAll(io.LimitReader(resp.Body, maxAnswer+1))
	if err == nil && len(data) > maxAnswer {
		err = fmt.Errorf("the answer is larger than %d MiB", maxAnswer>>20)
	}
	if err != nil {
		return nil, fmt.Errorf("reading %s: %w", path, err)
	}
	return data, nil
}

// message is what the body of an error says, in one line: the message of a
// Status, or of a health check (a line for each) those that fail.
func message(body []byte) string {
	var status struct{ Message string }
	if json.Unmarshal(body, &status) == nil && status.Message != "" {
		return short(status.Message)
	}
	var failed []string
	for _, line := range strings.Split(string(body), "\n") {
		if strings.HasPrefix(line, "[-]") {
			failed = append(failed, strings.TrimPrefix(line, "[-]"))
		}
	}
	if len(failed) > 0 {
		return short(strings.Join(failed, ", "))
	}
	return short(string(body))
}

// short makes one line of a text, and not a long one.
func short(text string) string {
	text = strings.Join(strings.Fields(strings.ToValidUTF8(text, "?")), " ")
	if len(text) <= maxTold {
		return text
	}
	return strings.ToValidUTF8(text[:maxTold], "") + "…"
}
