package cluster

import (
	"errors"
	"fmt"
	"net"
	"slices"
	"strings"
	"unicode"

	"github.com/google/uuid"
)

// trait is one of the things that a select says of a machine.
type trait struct {
	field string
	value *string
	usual func(string) (string, error)
}

func (s *Select) traits() []trait {
	return []trait{
		{"mac", &s.MAC, usualMAC},
		{"serial", &s.Serial, plain},
		{"uuid", &s.UUID, usualUUID},
		{"hostname", &s.Hostname, plain},
	}
}

// apart reports whether no machine can be meant by both.
func (s *Select) apart(other *Select) bool {
	theirs := other.traits()
	return slices.ContainsFunc(s.traits(), func(t trait) bool {
		value := *theirs[0].value
		theirs = theirs[1:]
		return *t.value != "" && value != "" && !strings.EqualFold(*t.value, value) // machines differ in how they write them
	})
}

// selects writes what selects say in its usual form, and refuses one that could
// mean the machine of another.
func (c *checker) selects(f *file) {
	owners := map[string][]int{}
	for i := range f.Nodes {
		own := &f.Nodes[i].Select
		c.usual(at(i)+".select", own)
		said := false
		for _, t := range own.traits() {
			if *t.value == "" {
				continue
			}
			key := t.field + " " + strings.ToLower(*t.value)
			j := slices.IndexFunc(owners[key], func(j int) bool { return !own.apart(&f.Nodes[j].Select) })
			if j >= 0 && !said {
				said = true
				c.errorf(at(i)+".select."+t.field, differ, "%s has the %s of %s, %s", at(i), t.field, at(owners[key][j]), *t.value)
			}
			owners[key] = append(owners[key], i)
		}
	}
}

// usual writes what a select says in its usual form. What cannot be right is
// not compared with others.
func (c *checker) usual(path string, s *Select) {
	for _, t := range s.traits() {
		at := path + "." + t.field
		if !c.doc.Has(at) {
			continue
		}
		usual, err := t.usual(*t.value)
		if err != nil {
			c.errorf(at, "as the machine itself has it", "%s: %v", at, err)
		}
		*t.value = usual
	}
}

func usualMAC(s string) (string, error) {
	mac, err := net.ParseMAC(s)
	if err != nil || len(mac) != 6 {
		return "", fmt.Errorf("%q is not like 52:54:00:12:34:56", s)
	}
	if mac[0]&1 != 0 || mac.String() == "00:00:00:00:00:00" {
		return "", fmt.Errorf("%s is no card's own", mac)
	}
	return mac.String(), nil
}

func usualUUID(s string) (string, error) {
	id, err := uuid.Parse(s)
	if err != nil || len(s) != 36 {
		return "", fmt.Errorf("%q is not a UUID", s)
	}
	if id == uuid.Nil || id == uuid.Max {
		return "", fmt.Errorf("%s is what machines say that have none", id)
	}
	return id.String(), nil
}

func plain(s string) (string, error) {
	if s == "" {
		return "", errors.New("is empty")
	}
	if strings.ContainsFunc(s, unicode.IsControl) || strings.TrimSpace(s) != s {
		return "", fmt.Errorf("%q has characters that no machine tells", s)
	}
	return s, nil
}
