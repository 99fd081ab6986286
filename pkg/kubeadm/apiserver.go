package kubeadm

import (
	"github.com/slipway-os/slipway/pkg/role"
)

// APIServerDir is where the files lie that the API server of a control plane
// is started with, besides certificates.
const APIServerDir = ConfigDir + "/apiserver"

// EncryptionFile is an EncryptionConfiguration of apiserver.config.k8s.io/v1.
const EncryptionFile = APIServerDir + "/encryption.yaml"

const (
	auditDir      = "/var/log/kubernetes/audit"
	auditFile     = APIServerDir + "/audit-policy.yaml"
	admissionFile = APIServerDir + "/admission.yaml"
)

// apiServer is how the API servers are started, with more names in their
// certificates.
func apiServer(r *role.Role, names []string) object {
	var args, volumes []any
	arg := func(name, value string) { args = append(args, object{"name": name, "value": value}) }
	server := object{"certSANs": anySlice(names)}
	if len(APIServerFiles(r)) > 0 || r.APIServer.Encryption {
		volumes = append(volumes, object{"name": "slipway-apiserver", "hostPath": APIServerDir, "mountPath": APIServerDir, "readOnly": true, "pathType": "Directory"})
	}
	if len(r.APIServer.AuditPolicy) > 0 {
		arg("audit-policy-file", auditFile)
		arg("audit-log-path", auditDir+"/audit.log")
		// At most 1 GB, of a month.
		arg("audit-log-maxsize", "100")
		arg("audit-log-maxbackup", "10")
		arg("audit-log-maxage", "30")
		volumes = append(volumes, object{"name": "slipway-audit", "hostPath": auditDir, "mountPath": auditDir, "pathType": "DirectoryOrCreate"})
	}
	if len(r.APIServer.Admission) > 0 {
		arg("admission-control-config-file", admissionFile)
	}
	if r.APIServer.Encryption {
		arg("encryption-provider-config", EncryptionFile)
	}
	if len(args) > 0 {
		server["extraArgs"] = args
	}
	if len(volumes) > 0 {
		server["extraVolumes"] = volumes
	}
	return server
}

// APIServerFiles returns the files that a control plane writes for its API
// server, by their paths.
func APIServerFiles(r *role.Role) map[string]map[string]any {
	files := map[string]map[string]any{}
	for _, f := range []struct {
		path, version, kind string
		fields              map[string]any
	}{
		{auditFile, "audit.k8s.io/v1", "Policy", r.APIServer.AuditPolicy},
		{admissionFile, "apiserver.config.k8s.io/v1", "AdmissionConfiguration", r.APIServer.Admission},
	} {
		if len(f.fields) == 0 {
			continue
		}
		document := object{"apiVersion": f.version, "kind": f.kind}
		merge(document, f.fields)
		files[f.path] = document
	}
	return files
}

// YAML returns a document as a file has it.
func YAML(document map[string]any) ([]byte, error) { return yamlDocuments(document) }
