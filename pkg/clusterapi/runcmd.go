package clusterapi

import (
	"fmt"
	"path"
	"regexp"
	"strings"

	"github.com/slipway-os/slipway/pkg/diag"
)

// The command by which the bootstrap provider starts or joins the cluster.
var kubeadmCommand = regexp.MustCompile(`^\s*kubeadm (?:init|join) --config (\S+)(.*?)(?:&& echo success > /run/cluster-api/bootstrap-success\.complete)?\s*$`)

// runcmd takes the commands apart: those before and after kubeadm. It returns
// the path of kubeadm's configuration.
func (r *reader) runcmd(c cloudConfig) (settings string) {
	r.commands.boot.lines = r.shell("bootcmd", c.Bootcmd)
	lines := r.shell("runcmd", c.Runcmd)
	into := &r.commands.before
	for i, line := range lines {
		if m := kubeadmCommand.FindStringSubmatch(line); m != nil && settings == "" {
			settings, into = path.Clean(m[1]), &r.commands.after
			r.kubeadmFlags(r.doc.Position(at("runcmd", i)), m[2])
			continue
		}
		into.lines = append(into.lines, line)
	}
	if settings == "" && len(lines) > 0 {
		r.refuse(r.doc.Position("runcmd"), "it is a line kubeadm init --config …, or join", "runcmd does not run kubeadm as Cluster API's bootstrap provider does")
	}
	for _, list := range []struct {
		name  string
		lines []string
	}{{"bootcmd", r.commands.boot.lines}, {"runcmd", lines}} {
		for i, line := range list.lines {
			if settings != "" && strings.Contains(line, settings) && !kubeadmCommand.MatchString(line) {
				r.refuseEditing(r.doc.Position(at(list.name, i)), settings)
			}
		}
	}
	return settings
}

func (r *reader) refuseEditing(pos diag.Position, settings string) {
	r.refuse(pos, "say it in the KubeadmConfig, or in "+roleFile, "a command wants to see %s, which became a role before any command runs", settings)
}

// kubeadmFlags refuses what kubeadm is told besides how much to say. It has no
// preflight checks to ignore here.
func (r *reader) kubeadmFlags(pos diag.Position, flags string) {
	words := strings.Fields(flags)
	for i := 0; i < len(words); i++ {
		name, _, inline := strings.Cut(words[i], "=")
		switch name {
		case "--v", "-v", "--ignore-preflight-errors":
			if !inline {
				i++
			}
		default:
			r.refuse(pos, "", "kubeadm's flag %s cannot be given here", name)
			return
		}
	}
}

// shell returns commands as lines of a shell's script.
func (r *reader) shell(list string, entries []any) []string {
	lines := []string{}
	for i, e := range entries {
		switch e := e.(type) {
		case string:
			lines = append(lines, e)
			continue
		case []any:
			if words, ok := quoteAll(e); ok {
				lines = append(lines, strings.Join(words, " "))
				continue
			}
		}
		r.refuse(r.doc.Position(at(list, i)), "", "%s must be a command: a string, or a list of strings", at(list, i))
		lines = append(lines, "")
	}
	return lines
}

func quoteAll(list []any) (words []string, ok bool) {
	for _, e := range list {
		switch e.(type) {
		case string, int, bool, float64:
			words = append(words, "'"+strings.ReplaceAll(fmt.Sprint(e), "'", `'\''`)+"'")
		default:
			return nil, false
		}
	}
	return words, len(words) > 0
}
