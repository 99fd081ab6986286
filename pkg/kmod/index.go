package kmod

import (
	"bytes"
	"fmt"
	"strings"
)

// Index returns the files that depmod writes for the modules of the set, under
// their names ("modules.dep.bin").
func (s *Set) Index() (map[string][]byte, error) {
	g, err := s.graph()
	if err != nil {
		return nil, err
	}
	files := map[string][]byte{
		"modules.dep":     g.depText(),
		"modules.alias":   g.aliasText(),
		"modules.softdep": g.softdepText(),
		"modules.devname": g.devnameText(),
	}
	symbols := g.symbols()
	files["modules.symbols"] = g.symbolText(symbols)
	for name, build := range map[string]func() (*trie, error){
		"modules.dep.bin":           g.depTrie,
		"modules.alias.bin":         g.aliasTrie,
		"modules.symbols.bin":       func() (*trie, error) { return g.symbolTrie(symbols) },
		"modules.builtin.bin":       s.builtinTrie,
		"modules.builtin.alias.bin": s.builtinAliasTrie,
	} {
		t, err := build()
		if err != nil {
			return nil, fmt.Errorf("%s: %w", name, err)
		}
		files[name] = nil // empty where the kernel shipped nothing to read
		if t == nil {
			continue
		}
		if files[name], err = t.encode(); err != nil {
			return nil, fmt.Errorf("%s: %w", name, err)
		}
	}
	return files, nil
}

func (g *graph) depText() []byte {
	var out bytes.Buffer
	for i := range g.modules {
		out.WriteString(g.line(i) + "\n")
	}
	return out.Bytes()
}

func (g *graph) depTrie() (*trie, error) {
	t := &trie{}
	for i, m := range g.modules {
		if err := t.insert(m.Name, g.line(i), i); err != nil {
			return nil, err
		}
	}
	return t, nil
}

func (g *graph) aliasText() []byte {
	out := bytes.NewBufferString("# Aliases extracted from modules themselves.\n")
	for _, m := range g.modules {
		for _, alias := range m.Aliases {
			out.WriteString("alias " + alias + " " + m.Name + "\n")
		}
	}
	return out.Bytes()
}

func (g *graph) aliasTrie() (*trie, error) {
	t := &trie{}
	for i, m := range g.modules {
		for _, alias := range m.Aliases {
			alias, err := normalAlias(alias)
			if err != nil {
				continue // depmod warns
			}
			if err := t.insert(alias, m.Name, i); err != nil {
				return nil, err
			}
		}
	}
	return t, nil
}

func (g *graph) softdepText() []byte {
	out := bytes.NewBufferString("# Soft dependencies extracted from modules themselves.\n")
	for _, m := range g.modules {
		for _, value := range m.softdeps {
			out.WriteString("softdep " + m.Name + " " + value + "\n")
		}
	}
	return out.Bytes()
}

// symbols returns all that are exported, in depmod's order.
func (g *graph) symbols() []string {
	names := make([]string, 0, len(g.owners))
	for name := range g.owners {
		names = append(names, name)
	}
	hashOrder(names, symbolBuckets)
	return names
}

func (g *graph) symbolText(names []string) []byte {
	out := bytes.NewBufferString("# Aliases for symbols, used by symbol_request().\n")
	for _, name := range names {
		out.WriteString("alias symbol:" + name + " " + g.modules[g.owners[name]].Name + "\n")
	}
	return out.Bytes()
}

func (g *graph) symbolTrie(names []string) (*trie, error) {
	t := &trie{}
	for _, name := range names {
		owner := g.owners[name]
		if err := t.insert("symbol:"+name, g.modules[owner].Name, owner); err != nil {
			return nil, err
		}
	}
	return t, nil
}

// devnameText lists the device nodes that exist before their module is loaded,
// which opening them does: those of modules with an alias for the node's name
// and one for its number (output_devname in depmod.c).
func (g *graph) devnameText() []byte {
	var out bytes.Buffer
	for _, m := range g.modules {
		var name, number string
		for _, alias := range m.Aliases {
			if n, ok := strings.CutPrefix(alias, "devname:"); ok {
				name = n
			} else if n := deviceNumber(alias); n != "" {
				number = n
			}
			if name != "" && number != "" {
				break
			}
		}
		if name == "" || number == "" {
			continue
		}
		if out.Len() == 0 {
			out.WriteString("# Device nodes to trigger on-demand module loading.\n")
		}
		out.WriteString(m.Name + " " + name + " " + number + "\n")
	}
	return out.Bytes()
}

// deviceNumber reads "char-major-10-229" as "c10:229"; "" if it is something
// else, as "char-major-10-*" is.
func deviceNumber(alias string) string {
	for _, kind := range []string{"char", "block"} {
		rest, ok := strings.CutPrefix(alias, kind+"-major-")
		if !ok {
			continue
		}
		var major, minor uint32
		if n, _ := fmt.Sscanf(rest, "%d-%d", &major, &minor); n == 2 {
			return fmt.Sprintf("%c%d:%d", kind[0], major, minor)
		}
	}
	return ""
}
