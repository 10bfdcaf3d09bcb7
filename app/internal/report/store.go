// Package report keeps reports about images as JSON files below a data directory.
package report

import (
	"crypto/rand"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/smiller333/dockerutilities/app/internal/engine"
)

// ErrNotFound is returned for an ID that names no report.
var ErrNotFound = errors.New("no such report")

var idGrammar = regexp.MustCompile(`^[0-9a-f]{32}$`)

// Report is what was known of an image at one time.
type Report struct {
	ID      string         `json:"id"`
	Image   string         `json:"image"`
	Made    time.Time      `json:"made"`
	Details engine.Details `json:"details"`
}

// Store is a directory of reports. It is safe for use by many goroutines and processes.
type Store struct{ root *os.Root }

// Open makes the directory if it is absent, and sees whether it can be written.
func Open(dataDir string) (*Store, error) {
	folder := filepath.Join(dataDir, "reports")
	if err := os.MkdirAll(folder, 0o700); err != nil {
		return nil, fmt.Errorf("can't use the data directory: %w", err)
	}
	root, err := os.OpenRoot(folder)
	if err != nil {
		return nil, fmt.Errorf("can't use the data directory: %w", err)
	}
	store := &Store{root: root}
	if err := store.write(".probe", nil); err != nil {
		_ = root.Close()
		return nil, fmt.Errorf("can't write to the data directory: %w", err)
	}
	_ = root.Remove(".probe")
	return store, nil
}

// Close gives the directory back.
func (s *Store) Close() error { return s.root.Close() }

// ValidID tells whether a text can be a report's ID; only such a text ever reaches the disk.
func ValidID(id string) bool { return idGrammar.MatchString(id) }

// Add keeps a new report about an image, and returns it.
func (s *Store) Add(image string, details engine.Details, now time.Time) (Report, error) {
	var random [16]byte
	if _, err := rand.Read(random[:]); err != nil {
		return Report{}, err
	}
	made := Report{ID: hex.EncodeToString(random[:]), Image: image, Made: now.UTC(), Details: details}
	data, err := json.MarshalIndent(made, "", "  ")
	if err != nil {
		return Report{}, err
	}
	return made, s.write(made.ID+".json", data)
}

// write puts a file in its place whole or not at all, also when the power fails.
func (s *Store) write(name string, data []byte) error {
	var random [8]byte
	if _, err := rand.Read(random[:]); err != nil {
		return err
	}
	temporary := ".new-" + hex.EncodeToString(random[:])
	file, err := s.root.OpenFile(temporary, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	_, err = file.Write(data)
	err = errors.Join(err, file.Sync(), file.Close())
	if err == nil {
		// os.Root has no Rename before Go 1.25; both names are ours and have no separator.
		err = os.Rename(filepath.Join(s.root.Name(), temporary), filepath.Join(s.root.Name(), name))
	}
	if err != nil {
		_ = s.root.Remove(temporary)
	}
	return err
}

// Get returns one report.
func (s *Store) Get(id string) (Report, error) {
	if !ValidID(id) {
		return Report{}, ErrNotFound
	}
	data, err := fs.ReadFile(s.root.FS(), id+".json")
	if errors.Is(err, fs.ErrNotExist) {
		return Report{}, ErrNotFound
	}
	if err != nil {
		return Report{}, err
	}
	var found Report
	if err := json.Unmarshal(data, &found); err != nil {
		return Report{}, fmt.Errorf("report %s is damaged: %w", id, err)
	}
	return found, nil
}

// Delete removes one report.
func (s *Store) Delete(id string) error {
	if !ValidID(id) {
		return ErrNotFound
	}
	err := s.root.Remove(id + ".json")
	if errors.Is(err, fs.ErrNotExist) {
		return ErrNotFound
	}
	return err
}

// List returns every report, the newest first. What can't be read is left out of it, and why is in
// the errors.
func (s *Store) List() ([]Report, []error) {
	entries, err := fs.ReadDir(s.root.FS(), ".")
	if err != nil {
		return nil, []error{err}
	}
	found := []Report{}
	var damaged []error
	for _, entry := range entries {
		id, isJSON := strings.CutSuffix(entry.Name(), ".json")
		if !isJSON || !ValidID(id) {
			continue
		}
		one, err := s.Get(id)
		switch {
		case err == nil:
			found = append(found, one)
		case !errors.Is(err, ErrNotFound): // Deleted since is no damage.
			damaged = append(damaged, err)
		}
	}
	slices.SortFunc(found, func(a, b Report) int { return b.Made.Compare(a.Made) })
	return found, damaged
}
