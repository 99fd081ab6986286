package role_test

import "testing"

// What is wrong by its type is not said to lack what it is made of.
func TestFalseFindingsDoNotFollow(t *testing.T) {
	refused(t, head, []badRole{
		{"a name for an interface", "network: {links: [eth0]}\n", `r.yaml:4:19: network.links[0] must be a mapping, not "eth0"`},
		{"nothing for an interface", "network:\n  links:\n    -\n", `r.yaml:6:6: network.links[0] is empty (remove it, or give it a value)`},
		{"names for control planes", "virtualIP: {addresses: [192.0.2.1], controlPlanes: [cp1]}\n", `r.yaml:4:53: virtualIP.controlPlanes[0] must be a mapping, not "cp1"`},
		{"names for etcd members", "etcd: {members: [a]}\n", `r.yaml:4:18: etcd.members[0] must be a mapping, not "a"`},
		{"an unknown field at first", "network:\n  links:\n    - nmae: a\n      mac: '52'\n", "r.yaml:6:7: unknown field \"nmae\" (did you mean \"name\"?)\nr.yaml:6:7: network.links[0].name: \"\" is not a name for an interface (at most 15 letters, digits, hyphens, underscores and dots)\nr.yaml:7:12: network.links[0].mac: \"52\" is not a hardware address (for example 52:54:00:12:34:56)"},
	})
}
