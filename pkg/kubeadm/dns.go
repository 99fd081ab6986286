package kubeadm

// Corefile returns the configuration of CoreDNS: kubeadm's, with two
// differences. Where the node has no resolver of its own, nothing is forwarded
// to one; CoreDNS would not start. And it is without the loop plugin, which asks
// that resolver at each start: pods see the file of systemd-resolved that names
// no local stub, so there is no loop to find.
func Corefile(domain string, upstream bool) string {
	forward := ""
	if upstream {
		forward = "    forward . /etc/resolv.conf {\n       max_concurrent 1000\n    }\n"
	}
	return ".:53 {\n    errors\n    health {\n       lameduck 5s\n    }\n    ready\n    kubernetes " + domain +
		" in-addr.arpa ip6.arpa {\n       pods insecure\n       fallthrough in-addr.arpa ip6.arpa\n       ttl 30\n    }\n    prometheus :9153\n" +
		forward + "    cache 30 {\n       disable success " + domain + "\n       disable denial " + domain + "\n    }\n    reload\n    loadbalance\n}\n"
}
