package store

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/slipway-os/slipway/pkg/diag"
)

// Key returns the name of a record: the sha256 over the JSON of its parts,
// which must be all that determines the record.
func Key(parts ...any) string {
	h := sha256.New()
	enc := json.NewEncoder(h)
	for _, p := range parts {
		if err := enc.Encode(p); err != nil {
			panic(fmt.Sprintf("store key of %T: %v", p, err)) // parts are our own plain structs
		}
	}
	return hex.EncodeToString(h.Sum(nil))
}

func (s *Store) recordPath(kind, key string) string {
	return filepath.Join(s.dir, "records", kind, key[:2], key+".json")
}

// sealed is how a record lies in the store: with a digest that tells whether
// it is still what was saved.
type sealed struct {
	SHA256 string          `json:"sha256"` // of Record's bytes
	Record json.RawMessage `json:"record"`
}

func seal(record []byte) string {
	sum := sha256.Sum256(record)
	return hex.EncodeToString(sum[:])
}

// Load reads the record of that kind and key into v. A record that is damaged
// is dropped, and ErrMissing returned.
func (s *Store) Load(kind, key string, v any) error {
	file := s.recordPath(kind, key)
	if s.recalled != nil && !s.recalled(kind) {
		if _, ok := s.saved.Load(file); !ok {
			return ErrMissing
		}
	}
	data, err := os.ReadFile(file)
	if errors.Is(err, fs.ErrNotExist) {
		return ErrMissing
	}
	if err != nil {
		return diag.IO(err)
	}
	var r sealed
	if json.Unmarshal(data, &r) != nil || r.SHA256 != seal(r.Record) || json.Unmarshal(r.Record, v) != nil {
		os.Remove(file)
		return ErrMissing
	}
	return nil
}

// Save writes the record of that kind and key.
func (s *Store) Save(kind, key string, v any) error {
	record, err := json.Marshal(v)
	if err != nil {
		return fmt.Errorf("encoding a %s record: %w", kind, err)
	}
	data, err := json.Marshal(sealed{seal(record), record})
	if err != nil {
		return fmt.Errorf("encoding a %s record: %w", kind, err)
	}
	f, err := os.CreateTemp(filepath.Join(s.dir, "tmp"), "record-*")
	if err != nil {
		return writing(err)
	}
	if _, err := f.Write(data); err != nil {
		f.Close()
		os.Remove(f.Name())
		return writing(err)
	}
	file := s.recordPath(kind, key)
	if err := s.place(f, file); err != nil {
		return err
	}
	if s.recalled != nil {
		s.saved.Store(file, true)
	}
	return nil
}
