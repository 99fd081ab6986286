package kmod

import "bytes"

// builtinTrie is the index of what is built into the kernel, by name, so that
// modprobe finds nothing amiss when asked for it. Nil if the kernel came
// without a list. (output_builtin_bin in depmod.c)
func (s *Set) builtinTrie() (*trie, error) {
	text, err := s.read(fileBuiltin)
	if err != nil || s.shipped[fileBuiltin] == nil {
		return nil, err
	}
	t := &trie{}
	for line := range bytes.Lines(text) {
		if c := line[0] | 0x20; c < 'a' || c > 'z' {
			continue // depmod complains
		}
		if err := t.insert(moduleName(string(line)), "", 0); err != nil {
			return nil, err
		}
	}
	return t, nil
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
