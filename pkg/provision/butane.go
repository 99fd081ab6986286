package provision

import (
	"cmp"
	"errors"
	"path"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"github.com/coreos/butane/config"
	"github.com/coreos/butane/config/common"
	"github.com/coreos/ignition/v2/config/v3_6"
	"github.com/coreos/ignition/v2/config/v3_6/types"
	"github.com/coreos/vcontext/report"
	"go.yaml.in/yaml/v3"

	"github.com/slipway-os/slipway/pkg/diag"
	"github.com/slipway-os/slipway/pkg/document"
	"github.com/slipway-os/slipway/pkg/ignition"
)

// newest is the variant of Butane's that can say all that Ignition 3.6 can.
const newest = "variant: fcos, version: 1.7.0"

// head is what is read of a Butane file besides what Butane reads: to name
// the places of what Slipway refuses.
type head struct {
	Variant  yaml.Node `yaml:"variant"`
	Version  yaml.Node `yaml:"version"`
	Ignition struct {
		Config struct {
			Replace yaml.Node   `yaml:"replace"`
			Merge   []yaml.Node `yaml:"merge"`
		} `yaml:"config"`
	} `yaml:"ignition"`
	Storage struct {
		Directories, Files, Links []node
	} `yaml:"storage"`
}

type node struct {
	Path yaml.Node `yaml:"path"`
}

// translate turns a Butane file into an Ignition config, strictly. It must not
// write to some places.
func translate(f ButaneFile, not map[string]place, has func(program string) bool) (types.Config, error) {
	none := types.Config{}
	// Butane would read the first of several YAML documents and pass over the
	// rest; and its syntax errors have no column.
	if _, err := document.Parse(f.Name, f.Data); err != nil {
		return none, err
	}
	var h head
	var root yaml.Node
	// What has a wrong type Butane complains of, below.
	_, _ = yaml.Unmarshal(f.Data, &h), yaml.Unmarshal(f.Data, &root)
	problems := refused(f.Name, h, not)
	data, rep, err := config.TranslateBytes(f.Data, common.TranslateBytesOptions{Raw: true})
	problems = append(problems, reported(f.Name, rep)...)
	if err != nil && len(rep.Entries) == 0 {
		problems = append(problems, butaneError(f.Name, h, err)...)
	}
	if len(problems) > 0 {
		return none, inOrder(problems)
	}
	c, rep, err := v3_6.ParseCompatibleVersion(data)
	if err != nil && len(rep.Entries) == 0 {
		return none, diag.At(position(f.Name, &h.Version), newest, "Ignition on the node cannot read what this version becomes")
	}
	for _, e := range rep.Entries {
		problems = append(problems, diag.At(diag.Position{File: f.Name}, "", "%s: %s", e.Context, e.Message))
	}
	for i, m := range c.Ignition.Config.Merge {
		for _, p := range forbidden(inner(m), not) {
			var at yaml.Node
			if i < len(h.Ignition.Config.Merge) {
				at = h.Ignition.Config.Merge[i]
			}
			problems = append(problems, diag.At(position(f.Name, &at), not[p].hint, "%s %s", p, not[p].why))
		}
	}
	if err == nil {
		// Asked here too, and not only of the merged config, to name the place.
		if err := ignition.Check(data, has); err != nil {
			for _, line := range strings.Split(err.Error(), "\n") {
				problems = append(problems, diag.At(position(f.Name, find(&root, line)), "", "%s", line))
			}
		}
	}
	return c, inOrder(problems)
}

// refused is what Butane and Ignition would both do, but must not.
func refused(name string, h head, not map[string]place) []*diag.Error {
	var problems []*diag.Error
	if n := &h.Ignition.Config.Replace; n.Line > 0 {
		problems = append(problems, diag.At(position(name, n), "use ignition.config.merge", "ignition.config.replace would throw the role away"))
	}
	for _, list := range [][]node{h.Storage.Directories, h.Storage.Files, h.Storage.Links} {
		for _, e := range list {
			if p := path.Clean(e.Path.Value); not[p] != (place{}) {
				problems = append(problems, diag.At(position(name, &e.Path), not[p].hint, "%s %s", p, not[p].why))
			}
		}
	}
	return problems
}

// position is the place of a node; where there is none, of the file as such.
func position(name string, n *yaml.Node) diag.Position {
	if n == nil || n.Line == 0 {
		return diag.Position{File: name}
	}
	return diag.Position{File: name, Line: n.Line, Column: n.Column}
}

// inOrder joins problems in the order of their places.
func inOrder(problems []*diag.Error) error {
	slices.SortStableFunc(problems, func(a, b *diag.Error) int {
		// Butane finds unused keys in the order of a map.
		return cmp.Or(cmp.Compare(a.Pos.Line, b.Pos.Line), cmp.Compare(a.Pos.Column, b.Pos.Column), cmp.Compare(a.Msg, b.Msg))
	})
	var all []error
	for _, p := range problems {
		all = append(all, p)
	}
	return errors.Join(all...)
}

var (
	inQuotes  = regexp.MustCompile(`"([^"]+)"`)
	upperCase = regexp.MustCompile(`[A-Z]`)
)

// find looks in Butane for what a message about the Ignition config made of it
// means: `section.of.it "name": ...`. Of what Butane made up itself there is
// nothing to find.
func find(root *yaml.Node, message string) *yaml.Node {
	where, _, _ := strings.Cut(message, ":")
	section, _, _ := strings.Cut(where, " ")
	at := root
	if at.Kind == yaml.DocumentNode && len(at.Content) == 1 {
		at = at.Content[0]
	}
	for _, field := range strings.Split(strings.TrimSuffix(section, ","), ".") {
		field = upperCase.ReplaceAllStringFunc(field, func(c string) string { return "_" + strings.ToLower(c) })
		var next *yaml.Node
		for i := 0; at.Kind == yaml.MappingNode && i+1 < len(at.Content); i += 2 {
			if at.Content[i].Value == field {
				next = at.Content[i+1]
			}
		}
		if next == nil {
			return nil
		}
		at = next
	}
	quotes := inQuotes.FindAllStringSubmatch(message, -1)
	for i := len(quotes) - 1; i >= 0; i-- { // the last is the most particular
		if n := scalar(at, quotes[i][1]); n != nil {
			return n
		}
	}
	return at
}

// scalar finds a value below a node.
func scalar(n *yaml.Node, value string) *yaml.Node {
	if n.Kind == yaml.ScalarNode && n.Value == value {
		return n
	}
	for _, c := range n.Content {
		if found := scalar(c, value); found != nil {
			return found
		}
	}
	return nil
}

// reported turns Butane's warnings and errors into ours.
func reported(name string, rep report.Report) []*diag.Error {
	var problems []*diag.Error
	seen := map[string]bool{}
	for _, e := range rep.Entries {
		if e.Kind == report.Info {
			continue
		}
		pos := diag.Position{File: name}
		if p := e.Marker.StartP; p != nil {
			pos.Line, pos.Column = int(p.Line), int(p.Column)
		}
		msg, hint := e.Message, ""
		if msg == common.ErrNoFilesDir.Error() {
			msg, hint = "local files are not supported", "give the content with inline"
		}
		if e.Context.Len() > 0 {
			msg = strings.TrimPrefix(e.Context.String(), "$.") + ": " + msg
		}
		p := diag.At(pos, hint, "%s", msg)
		if !seen[p.Error()] {
			problems = append(problems, p)
		}
		seen[p.Error()] = true
	}
	return problems
}

var (
	yamlLine = regexp.MustCompile(`(?m)^\s*(?:Error unmarshaling yaml: )?(?:yaml: )?line (\d+): (.*)$`)
	quoted   = regexp.MustCompile("(cannot unmarshal !!\\w+) `[^`]*`")
)

// butaneError gives a place to what Butane says without one.
func butaneError(name string, h head, err error) []*diag.Error {
	first := func(n *yaml.Node) diag.Position {
		if n.Line == 0 {
			return diag.Position{File: name, Line: 1, Column: 1}
		}
		return position(name, n)
	}
	var unknown common.ErrUnknownVersion
	switch {
	case errors.Is(err, common.ErrNoVariant):
		return []*diag.Error{diag.At(first(&h.Variant), newest, "variant is missing")}
	case errors.Is(err, common.ErrInvalidVersion):
		return []*diag.Error{diag.At(first(&h.Version), newest, "version is missing or not like 1.7.0")}
	case errors.As(err, &unknown):
		return []*diag.Error{diag.At(first(&h.Version), newest, "unknown version %s of variant %q", unknown.Version, unknown.Variant)}
	}
	var problems []*diag.Error
	for _, m := range yamlLine.FindAllStringSubmatch(err.Error(), -1) {
		line, _ := strconv.Atoi(m[1])
		// The value may be a secret that was written in the wrong place.
		problems = append(problems, diag.At(diag.Position{File: name, Line: line, Column: 1}, "", "%s", quoted.ReplaceAllString(m[2], "$1")))
	}
	if len(problems) == 0 {
		problems = append(problems, diag.At(diag.Position{File: name}, "", "translating Butane: %s", quoted.ReplaceAllString(err.Error(), "$1")))
	}
	return problems
}
