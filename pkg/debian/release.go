package debian

import (
	"errors"
	"fmt"
	"path"
	"slices"
	"strconv"
	"strings"
	"time"
)

// release is a suite's Release file (the Debian wiki's "DebianRepository/Format").
type release struct {
	codename, suite string
	date            time.Time
	validUntil      time.Time // zero: for ever
	architectures   []string
	components      []string
	allApart        bool // packages of architecture all have an index of their own
	byHash          bool
	files           map[string]file
}

// file is a file of a suite, as its Release file lists it.
type file struct {
	size   int64
	sha256 string
}

const maxFiles = 100_000

func parseRelease(text string) (*release, error) {
	r := &release{files: map[string]file{}}
	var err error
	section, merged := "", false
	for line := range strings.Lines(text) {
		line = strings.TrimRight(line, "\r\n\t ")
		if strings.HasPrefix(line, " ") || strings.HasPrefix(line, "\t") {
			if section == "SHA256" {
				if err := r.addFile(line); err != nil {
					return nil, err
				}
			}
			continue
		}
		name, value, _ := strings.Cut(line, ":")
		value = strings.TrimSpace(value)
		switch section = name; name {
		case "Codename":
			r.codename = value
		case "Suite":
			r.suite = value
		case "Date":
			r.date, err = parseDate(value)
		case "Valid-Until":
			r.validUntil, err = parseDate(value)
		case "Architectures":
			r.architectures = strings.Fields(value)
		case "Components":
			for name := range strings.FieldsSeq(value) {
				r.components = append(r.components, path.Base(name)) // "updates/main" of older security suites
			}
		case "No-Support-for-Architecture-all":
			merged = value == "Packages"
		case "Acquire-By-Hash":
			r.byHash = value == "yes"
		}
		if err != nil {
			return nil, fmt.Errorf("%s: %w", name, err)
		}
	}
	if r.date.IsZero() {
		return nil, errors.New("it has no Date")
	}
	r.allApart = slices.Contains(r.architectures, "all") && !merged
	return r, nil
}

func (r *release) addFile(line string) error {
	fields := strings.Fields(line)
	if len(fields) != 3 {
		return fmt.Errorf("%q is not a digest, a size and a name", line)
	}
	size, err := strconv.ParseInt(fields[1], 10, 64)
	if err != nil || size < 0 || !isDigest(fields[0]) {
		return fmt.Errorf("%q is not a digest, a size and a name", line)
	}
	if len(r.files) == maxFiles {
		return fmt.Errorf("more than %d files", maxFiles)
	}
	r.files[fields[2]] = file{size, fields[0]}
	return nil
}

// isDigest says whether a text is a sha256, in lower case.
func isDigest(text string) bool {
	return len(text) == 64 && strings.Trim(text, "0123456789abcdef") == ""
}

// parseDate reads a date as Release files have it: RFC 1123, in UTC. (Not in
// other zones: what their names mean depends on the machine. Days below ten
// come with one digit or two.)
func parseDate(text string) (time.Time, error) {
	for _, zone := range []string{" UTC", " GMT", " Z", " +0000"} {
		if date, ok := strings.CutSuffix(text, zone); ok {
			return time.Parse("Mon, 2 Jan 2006 15:04:05", date)
		}
	}
	return time.Time{}, fmt.Errorf("%q is not a date in UTC", text)
}

// maxAhead is by how much the clock of whoever made a release may be ahead of
// this machine's.
const maxAhead = time.Hour

// check says whether the release is what was asked for, at that time.
func (r *release) check(s Suite, arch string, now time.Time) error {
	if s.Name != r.codename && s.Name != r.suite {
		return fmt.Errorf("it is of suite %q (%s), not %q; the mirror is mixed up", r.codename, r.suite, s.Name)
	}
	if !slices.Contains(r.architectures, arch) {
		return fmt.Errorf("it has no packages for %s, only for %s", arch, strings.Join(r.architectures, ", "))
	}
	if date := r.date.Unix(); date < s.NotBefore {
		return fmt.Errorf("it is of %s, older than the %s of the lock: the mirror lags behind or was rolled back; name another mirror or wait",
			day(r.date), day(time.Unix(s.NotBefore, 0).UTC()))
	}
	switch {
	case r.date.After(now.Add(maxAhead)):
		return fmt.Errorf("it is of %s, which is yet to come (now is %s): is this machine's clock right?", day(r.date), day(now.UTC()))
	case s.Frozen:
	case r.validUntil.IsZero() && !s.Main:
		return errors.New("it has no Valid-Until; without one an old state with known holes could be served for ever; os.frozen in the profile accepts a suite that gets no updates any more")
	case !r.validUntil.IsZero() && now.After(r.validUntil):
		return fmt.Errorf("it expired on %s (now is %s): the mirror is stale, or this machine's clock is wrong; os.frozen in the profile accepts a mirror that is kept as it was", day(r.validUntil), day(now.UTC()))
	}
	return nil
}

func day(t time.Time) string { return t.Format("2006-01-02 15:04 MST") }
