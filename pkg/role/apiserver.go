package role

// APIServer is what the API servers do beyond serving.
type APIServer struct {
	AuditPolicy map[string]any `yaml:"auditPolicy" doc:"What is written down about requests: fields of a Policy of audit.k8s.io/v1. The log is below /var/log/kubernetes/audit on each control plane." becomes:"ClusterConfiguration apiServer.extraArgs audit-policy-file, audit-log-…"`
	Admission   map[string]any `yaml:"admission" doc:"Configuration of admission plug-ins: fields of an AdmissionConfiguration of apiserver.config.k8s.io/v1." becomes:"ClusterConfiguration apiServer.extraArgs admission-control-config-file"`
	Encryption  bool           `yaml:"encryption" doc:"Encrypt Secrets in etcd, by the EncryptionConfiguration in /etc/kubernetes/apiserver/encryption.yaml, which builder cluster render lays down. To be decided before the cluster starts." becomes:"ClusterConfiguration apiServer.extraArgs encryption-provider-config"`
}

// checkAPIServer checks what only Kubernetes can judge as a whole: that it is
// of the right kind and has its fields.
func (r *Role) checkAPIServer(c *checker) {
	for _, doc := range []struct {
		path, kind, group string
		fields            map[string]any
		needs             string
	}{
		{"apiServer.auditPolicy", "Policy", "audit.k8s.io/v1", r.APIServer.AuditPolicy, "rules"},
		{"apiServer.admission", "AdmissionConfiguration", "apiserver.config.k8s.io/v1", r.APIServer.Admission, "plugins"},
	} {
		if !c.doc.Has(doc.path) {
			continue
		}
		if v, given := doc.fields["kind"]; given && v != doc.kind {
			c.errorf(doc.path+".kind", "leave it out", "%s.kind must be %s", doc.path, doc.kind)
		}
		c.group(doc.path, doc.group, doc.fields)
		c.fields(doc.path, doc.kind, doc.fields)
		if list, _ := doc.fields[doc.needs].([]any); len(list) == 0 {
			hint := "for example " + map[string]string{"rules": "rules: [{level: Metadata}]", "plugins": "plugins: [{name: PodSecurity, configuration: {…}}]"}[doc.needs]
			c.errorf(doc.path, hint, "%s has no %s", doc.path, doc.needs)
		}
	}
}
