package kmod

import (
	"bytes"
	"slices"
)

// builtinTrie is the index of what is built into the kernel, by name, so that
// modprobe finds nothing amiss when asked for it. Nil if the kernel came
// without a list. (output_builtin_bin in depmod.c)
func (s *Set) builtinTrie() (*trie, error) {
	names, err := s.builtin()
	if err != nil || s.shipped[fileBuiltin] == nil {
		return nil, err
	}
	t := &trie{}
	for _, name := range names {
		if err := t.insert(name, "", 0); err != nil {
			return nil, err
		}
	}
	return t, nil
}

// builtin returns the names of what is built into the kernel.
func (s *Set) builtin() ([]string, error) {
	text, err := s.read(fileBuiltin)
	if err != nil {
		return nil, err
	}
	var names []string
	for line := range bytes.Lines(text) {
		if c := line[0] | 0x20; c < 'a' || c > 'z' {
			continue // depmod complains
		}
		names = append(names, moduleName(string(line)))
	}
	return names, nil
}

// Missing returns the names of which there is neither a module nor one that is
// built in, looked up as by Closure.
func (s *Set) Missing(names []string) ([]string, error) {
	builtin, err := s.builtin()
	if err != nil {
		return nil, err
	}
	find := s.finder()
	var missing []string
	for _, name := range names {
		if len(find(name)) == 0 && !slices.Contains(builtin, underscores(name)) {
			missing = append(missing, name)
		}
	}
	return missing, nil
}

// builtinAliasTrie is the index of the aliases of what is built in: those in
// records "name.key=value", each NUL-terminated. (output_builtin_alias_bin)
func (s *Set) builtinAliasTrie() (*trie, error) {
	text, err := s.read(fileBuiltinInfo)
	if err != nil || s.shipped[fileBuiltinInfo] == nil {
		return nil, err
	}
	t := &trie{}
	text = text[:bytes.LastIndexByte(text, 0)+1] // what is cut off is ignored
	for entry := range bytes.SplitSeq(text, []byte{0}) {
		name, rest, _ := bytes.Cut(entry, []byte("."))
		key, value, _ := bytes.Cut(rest, []byte("="))
		if len(name) == 0 || len(value) == 0 || string(key) != "alias" {
			continue
		}
		alias, err := normalAlias(string(value))
		if err != nil {
			continue // depmod warns
		}
		if err := t.insert(alias, string(name), 0); err != nil {
			return nil, err
		}
	}
	return t, nil
}
