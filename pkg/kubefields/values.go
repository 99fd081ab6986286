package kubefields

import (
	"cmp"
	"fmt"
	"maps"
	"math"
	"net"
	"net/netip"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/slipway-os/slipway/pkg/diag"
)

// rule says what is wrong with a value of the right type, and what to do: "" if
// nothing is. What is as if it had not been given is right.
type rule func(v any) (text, hint string)

// rules are those of the fields whose values the programs refuse when they start,
// by "Type.field"; of a list or mapping they are those of each in it. From Kubernetes' own
// validation of KubeletConfiguration (pkg/kubelet/apis/config/validation) and of
// KubeProxyConfiguration (pkg/proxy/apis/config/validation); kubeadmRules and
// auditRules have those of other documents.
func rules() map[string]rule {
	all := map[string]rule{
		"KubeletConfiguration.address":                                   address,
		"KubeletConfiguration.cgroupDriver":                              oneOf("systemd", "cgroupfs"),
		"KubeletConfiguration.clusterDNS":                                address,
		"KubeletConfiguration.configMapAndSecretChangeDetectionStrategy": oneOf("Get", "Cache", "Watch"),
		"KubeletConfiguration.containerLogMaxFiles":                      between(2, math.MaxInt32),
		"KubeletConfiguration.containerLogMaxWorkers":                    atLeast(1),
		"KubeletConfiguration.containerLogMonitorInterval":               lasting(3*time.Second, math.MaxInt64),
		"KubeletConfiguration.cpuCFSQuotaPeriod":                         lasting(time.Millisecond, time.Second),
		"KubeletConfiguration.cpuManagerPolicy":                          oneOf("none", "static"),
		"KubeletConfiguration.enforceNodeAllocatable":                    oneOf("none", "pods", "system-reserved", "system-reserved-compressible", "kube-reserved", "kube-reserved-compressible"),
		"KubeletConfiguration.eventBurst":                                atLeast(0),
		"KubeletConfiguration.eventRecordQPS":                            atLeast(0),
		"KubeletConfiguration.featureGates":                              gate("kubernetes"),
		"KubeProxyConfiguration.featureGates":                            gate("kubernetes"),
		"ClusterConfiguration.featureGates":                              gate("kubeadm"),
		"KubeletConfiguration.memoryReservationPolicy":                   oneOf("None", "TieredReservation"),
		"KubeletConfiguration.evictionHard":                              signal,
		"KubeletConfiguration.evictionMinimumReclaim":                    signal,
		"KubeletConfiguration.evictionSoft":                              signal,
		"KubeletConfiguration.evictionSoftGracePeriod":                   gracePeriod,
		"KubeletConfiguration.hairpinMode":                               oneOf("promiscuous-bridge", "hairpin-veth", "none"),
		"KubeletConfiguration.healthzPort":                               between(0, 65535),
		"KubeletConfiguration.imageGCHighThresholdPercent":               between(0, 100),
		"KubeletConfiguration.imageGCLowThresholdPercent":                between(0, 100),
		"KubeletConfiguration.imageMaximumGCAge":                         lasting(0, math.MaxInt64),
		"KubeletConfiguration.imageMinimumGCAge":                         lasting(0, math.MaxInt64),
		"KubeletConfiguration.imagePullCredentialsVerificationPolicy":    oneOf("NeverVerify", "NeverVerifyPreloadedImages", "NeverVerifyAllowlistedImages", "AlwaysVerify"),
		"KubeletConfiguration.iptablesDropBit":                           between(0, 31),
		"KubeletConfiguration.iptablesMasqueradeBit":                     between(0, 31),
		"KubeletConfiguration.kubeAPIBurst":                              atLeast(0),
		"KubeletConfiguration.kubeAPIQPS":                                atLeast(0),
		"KubeletConfiguration.maxOpenFiles":                              between(0, math.MaxInt64),
		"KubeletConfiguration.maxParallelImagePulls":                     atLeast(1),
		"KubeletConfiguration.maxPods":                                   atLeast(0),
		"KubeletConfiguration.memoryManagerPolicy":                       oneOf("None", "Static"),
		"KubeletConfiguration.nodeLeaseDurationSeconds":                  atLeast(0),
		"KubeletConfiguration.nodeStatusMaxImages":                       atLeast(-1),
		"KubeletConfiguration.oomScoreAdj":                               between(-1000, 1000),
		"KubeletConfiguration.podsPerCore":                               atLeast(0),
		"KubeletConfiguration.port":                                      between(0, 65535),
		"KubeletConfiguration.readOnlyPort":                              between(0, 65535),
		"KubeletConfiguration.registryBurst":                             atLeast(0),
		"KubeletConfiguration.registryPullQPS":                           atLeast(0),
		"KubeletConfiguration.shutdownGracePeriod":                       noneOrSecond,
		"KubeletConfiguration.shutdownGracePeriodCriticalPods":           noneOrSecond,
		"KubeletConfiguration.tlsMinVersion":                             oneOf("VersionTLS10", "VersionTLS11", "VersionTLS12", "VersionTLS13"),
		"KubeletConfiguration.topologyManagerPolicy":                     oneOf("none", "best-effort", "restricted", "single-numa-node"),
		"KubeletConfiguration.topologyManagerScope":                      oneOf("container", "pod"),
		"KubeletAuthorization.mode":                                      oneOf("AlwaysAllow", "Webhook"),
		"MemorySwapConfiguration.swapBehavior":                           oneOf("NoSwap", "LimitedSwap"),
		"LoggingConfiguration.format":                                    oneOf("text", "json"),
		"KubeProxyConfiguration.bindAddress":                             address,
		"KubeProxyConfiguration.configSyncPeriod":                        lasting(0, math.MaxInt64),
		"KubeProxyConfiguration.detectLocalMode":                         oneOf("ClusterCIDR", "NodeCIDR", "BridgeInterface", "InterfaceNamePrefix"),
		"KubeProxyConfiguration.healthzBindAddress":                      addressPort,
		"KubeProxyConfiguration.metricsBindAddress":                      addressPort,
		"KubeProxyConfiguration.mode":                                    oneOf("iptables", "nftables", "ipvs"),
		"KubeProxyConfiguration.nodePortAddresses":                       nodePorts,
		"KubeProxyConfiguration.oomScoreAdj":                             between(-1000, 1000),
		"KubeProxyConntrackConfiguration.maxPerCore":                     atLeast(0),
		"KubeProxyConntrackConfiguration.min":                            atLeast(0),
		"KubeProxyConntrackConfiguration.tcpCloseWaitTimeout":            lasting(0, math.MaxInt64),
		"KubeProxyConntrackConfiguration.tcpEstablishedTimeout":          lasting(0, math.MaxInt64),
		"KubeProxyConntrackConfiguration.udpStreamTimeout":               lasting(0, math.MaxInt64),
		"KubeProxyConntrackConfiguration.udpTimeout":                     lasting(0, math.MaxInt64),
		"KubeProxyIPVSConfiguration.excludeCIDRs":                        subnet,
		"ClientConnectionConfiguration.burst":                            atLeast(0),
	}
	for _, proxy := range []string{"IPTables", "NFTables"} {
		all["KubeProxy"+proxy+"Configuration.masqueradeBit"] = between(0, 31)
		all["KubeProxy"+proxy+"Configuration.minSyncPeriod"] = lasting(0, math.MaxInt64)
		all["KubeProxy"+proxy+"Configuration.syncPeriod"] = lasting(0, math.MaxInt64)
	}
	maps.Copy(all, kubeadmRules())
	maps.Copy(all, auditRules())
	return all
}

const fine = ""

func oneOf(known ...string) rule {
	must := among(known...)
	return func(v any) (string, string) {
		if v == "" { // is as if it were not given
			return fine, ""
		}
		return must(v)
	}
}

// among is oneOf where even the empty one counts, as in a list.
func among(known ...string) rule {
	return func(v any) (string, string) {
		s, ok := v.(string)
		if !ok || slices.Contains(known, s) {
			return fine, ""
		}
		last := len(known) - 1
		return fmt.Sprintf("must be %s or %s, not %s", strings.Join(known[:last], ", "), known[last], shown(s)), diag.Suggest(s, known)
	}
}

func between(least, most int64) rule {
	return func(v any) (string, string) {
		n, ok := number(v)
		switch {
		case !ok || float64(least) <= n && n <= float64(most):
			return fine, ""
		case most < math.MaxInt32:
			return fmt.Sprintf("must be between %d and %d, not %v", least, most, v), ""
		case n < float64(least):
			return fmt.Sprintf("must be %d or more, not %v", least, v), ""
		}
		return fmt.Sprintf("must be %d or less, not %v", most, v), ""
	}
}

func atLeast(n int64) rule { return between(n, math.MaxInt32) }

func number(v any) (float64, bool) {
	switch v := v.(type) {
	case int:
		return float64(v), true
	case int64:
		return float64(v), true
	case uint64:
		return float64(v), true
	case float64:
		return v, true
	}
	return 0, false
}

func lasting(least, most time.Duration) rule {
	return func(v any) (string, string) {
		d, ok := duration(v)
		switch {
		case !ok || least <= d && d <= most:
			return fine, ""
		case most != math.MaxInt64:
			return fmt.Sprintf("must be between %s and %s, not %s", least, most, d), ""
		case least == 0:
			return fmt.Sprintf("must not be less than nothing: %s", d), ""
		}
		return fmt.Sprintf("must be %s or more, not %s", least, d), ""
	}
}

func noneOrSecond(v any) (string, string) {
	if d, ok := duration(v); ok && d != 0 && d < time.Second {
		return fmt.Sprintf("must be 0s, or 1s or more, not %s", d), ""
	}
	return fine, ""
}

func duration(v any) (time.Duration, bool) {
	s, _ := v.(string)
	d, err := time.ParseDuration(s)
	return d, err == nil
}

func address(v any) (string, string) {
	if s, ok := v.(string); ok && s != "" {
		if _, err := netip.ParseAddr(s); err != nil {
			return "must be an IP address, not " + shown(s), ""
		}
	}
	return fine, ""
}

func subnet(v any) (string, string) {
	if s, ok := v.(string); ok {
		if _, err := netip.ParsePrefix(s); err != nil {
			return "must be a subnet as in 192.0.2.0/24, not " + shown(s), ""
		}
	}
	return fine, ""
}

func nodePorts(v any) (string, string) {
	if s, ok := v.(string); ok && slices.Contains([]string{"primary", "localhost", "all"}, s) {
		return fine, ""
	}
	text, _ := subnet(v)
	if text == fine {
		return fine, ""
	}
	return text, "or primary, localhost, all"
}

func addressPort(v any) (string, string) {
	s, ok := v.(string)
	if !ok || s == "" {
		return fine, ""
	}
	if _, err := netip.ParseAddr(s); err == nil {
		return fine, "" // with the default port
	}
	host, port, err := net.SplitHostPort(s)
	if err == nil {
		_, err = netip.ParseAddr(host)
	}
	if n, bad := strconv.ParseUint(port, 10, 16); err != nil || bad != nil || n == 0 {
		return "must be an IP address and a port as in 127.0.0.1:10249, not " + shown(s), ""
	}
	return fine, ""
}

// entry is one of a mapping.
type entry struct {
	name  string
	value any
}

// gate checks that there is a feature gate, and that it is not settled.
func gate(of string) rule {
	return func(v any) (string, string) {
		e, _ := v.(entry)
		known := read().Gates[of]
		settled, is := known[e.name]
		if !is {
			return "is no feature gate of " + of + " " + Version(), diag.Suggest(e.name, slices.Sorted(maps.Keys(known)))
		}
		if value, given := e.value.(bool); given && settled != "" && settled != fmt.Sprint(value) {
			return fmt.Sprintf("cannot be %v in %s", value, Version()), "it is always " + settled + ": leave it out"
		}
		return fine, ""
	}
}

// Of what the kubelet evicts pods for: a share of all, or a quantity (Kubernetes'
// API, resource.Quantity).
var threshold = regexp.MustCompile(`^([0-9]+(\.[0-9]*)?%|[0-9]+(\.[0-9]*)?([KMGTPE]i|[numkMGTPE]|[eE][0-9]+)?)$`)

// signal checks what the kubelet evicts pods for, and how much of it; gracePeriod
// checks for how long.
func signal(v any) (string, string) {
	e, _ := v.(entry)
	if s, _ := e.value.(string); !threshold.MatchString(s) {
		return "must be a percentage or a quantity as in 5% or 100Mi, not " + shown(e.value), ""
	}
	return isSignal(e)
}

func gracePeriod(v any) (string, string) {
	e, _ := v.(entry)
	if _, ok := duration(e.value); !ok {
		return "must be a duration as in 1m30s, not " + shown(e.value), ""
	}
	return isSignal(e)
}

func isSignal(e entry) (string, string) {
	known := []string{
		"memory.available", "allocatableMemory.available", "pid.available", "nodefs.available", "nodefs.inodesFree",
		"imagefs.available", "imagefs.inodesFree", "containerfs.available", "containerfs.inodesFree",
	}
	if slices.Contains(known, e.name) {
		return fine, ""
	}
	return "is nothing that the kubelet evicts pods for", cmp.Or(diag.Suggest(e.name, known), "known: "+strings.Join(known, ", "))
}
