// Package report keeps reports about images as JSON files below a data directory.
package report

import (
	"bytes"
	"context"
	"crypto/rand"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/smiller333/dockerutilities/app/internal/engine"
)

// Errors that a caller may tell apart.
var (
	ErrNotFound = errors.New("no such report")
	ErrTooLarge = errors.New("the details of this image are too large for a report")

	errNotRegular = errors.New("not a regular file")
)

const (
	maxReport = 2 << 20 // bytes of one file
	maxListed = 500     // reports in a list
	maxNamed  = 20      // files whose reason is given where a list leaves them out
)

var idGrammar = regexp.MustCompile(`^[0-9a-f]{32}$`)

// Report is what was known of an image at one time. Its ID is the name of its file, whatever that
// holds.
type Report struct {
	ID      string         `json:"id"`
	Image   string         `json:"image"`
	Made    time.Time      `json:"made"`
	Details engine.Details `json:"details"`
}

// Summary is a report without most of its details.
type Summary struct {
	ID    string    `json:"id"`
	Image string    `json:"image"`
	Made  time.Time `json:"made"`
	Size  int64     `json:"size"`
	engine.Sizes
}

// Listing is what a directory of reports holds.
type Listing struct {
	Reports []Summary // The newest first.
	Older   int       // How many more there are.
	Skipped []error   // Why a file is left out, for the first of them.
	Unnamed int       // How many more are left out.
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
	var data bytes.Buffer
	encoder := json.NewEncoder(&data)
	encoder.SetEscapeHTML(false)
	encoder.SetIndent("", "  ")
	if err := encoder.Encode(made); err != nil {
		return Report{}, err
	}
	if data.Len() > maxReport {
		return Report{}, ErrTooLarge
	}
	return made, s.write(made.ID+".json", data.Bytes())
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
		err = s.root.Rename(temporary, name)
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
	var found Report
	err := s.read(id, &found)
	if errors.Is(err, errNotRegular) {
		return Report{}, ErrNotFound
	}
	if err == nil {
		err = check(id, found.Image, &found.Made)
	}
	if err != nil {
		return Report{}, err
	}
	found.ID = id
	return found, nil
}

// read decodes the file of a report. Whatever is in the place of a report, it never waits and never
// takes more memory than a report may have.
func (s *Store) read(id string, into any) error {
	name := id + ".json"
	seen, err := s.root.Lstat(name)
	if err != nil {
		return orNotFound(err)
	}
	file, err := s.open(name, seen)
	if err != nil {
		return orNotFound(err)
	}
	defer file.Close()
	data, err := io.ReadAll(io.LimitReader(file, maxReport)) // It may grow meanwhile.
	if err != nil {
		return err
	}
	if err := json.Unmarshal(data, into); err != nil {
		return damaged(id, err)
	}
	return nil
}

// open opens a regular file that is not too large, and still the one that was seen. A link shows only
// when it is looked at: os.Root follows one that stays in the directory. A device is not even opened.
func (s *Store) open(name string, seen fs.FileInfo) (*os.File, error) {
	if !seen.Mode().IsRegular() {
		return nil, fmt.Errorf("%s: %w", name, errNotRegular)
	}
	// Without O_NONBLOCK, to open what is a FIFO by now would wait for its writer.
	file, err := s.root.OpenFile(name, os.O_RDONLY|syscall.O_NONBLOCK, 0)
	if err != nil {
		return nil, err
	}
	state, err := file.Stat()
	switch {
	case err != nil:
	case !state.Mode().IsRegular() || !os.SameFile(seen, state):
		err = fmt.Errorf("%s: %w", name, errNotRegular)
	case state.Size() > maxReport:
		err = fmt.Errorf("%s has %d bytes, more than the %d of a report", name, state.Size(), maxReport)
	default:
		return file, nil
	}
	_ = file.Close()
	return nil, err
}

func orNotFound(err error) error {
	if errors.Is(err, fs.ErrNotExist) {
		return ErrNotFound
	}
	return err
}

// damaged cuts the reason short: it may quote what the file holds.
func damaged(id string, err error) error {
	return fmt.Errorf("report %s is damaged: %.200s", id, err)
}

// check looks at what every list of reports shows.
func check(id, image string, made *time.Time) error {
	if !engine.ValidReference(image) {
		return damaged(id, errors.New("its image is not a valid reference"))
	}
	*made = made.UTC()
	if made.Year() < 0 || made.Year() > 9999 {
		return damaged(id, errors.New("its time is outside of the years 0 to 9999"))
	}
	return nil
}

// Delete removes one report, and nothing that is not a regular file.
func (s *Store) Delete(id string) error {
	if !ValidID(id) {
		return ErrNotFound
	}
	name := id + ".json"
	state, err := s.root.Lstat(name)
	if err == nil && !state.Mode().IsRegular() {
		return ErrNotFound
	}
	if err == nil {
		err = s.root.Remove(name)
	}
	return orNotFound(err)
}

// List returns the newest reports.
func (s *Store) List(ctx context.Context) (Listing, error) {
	found := Listing{Reports: []Summary{}}
	newest, err := s.newest(ctx, &found)
	if err != nil {
		return Listing{}, err
	}
	for _, one := range newest {
		if err := ctx.Err(); err != nil {
			return Listing{}, err
		}
		summary, err := s.summary(one.id)
		switch {
		case err == nil:
			found.Reports = append(found.Reports, summary)
		case !errors.Is(err, ErrNotFound): // Deleted since is no damage.
			found.skip(err)
		}
	}
	slices.SortStableFunc(found.Reports, func(a, b Summary) int { return b.Made.Compare(a.Made) })
	return found, nil
}

func (l *Listing) skip(err error) {
	if len(l.Skipped) < maxNamed {
		l.Skipped = append(l.Skipped, err)
	} else {
		l.Unnamed++
	}
}

func (s *Store) summary(id string) (Summary, error) {
	var found struct {
		Image   string
		Made    time.Time
		Details struct {
			Size int64
			engine.Sizes
		}
	}
	err := s.read(id, &found)
	if err == nil {
		err = check(id, found.Image, &found.Made)
	}
	return Summary{ID: id, Image: found.Image, Made: found.Made, Size: found.Details.Size, Sizes: found.Details.Sizes}, err
}

// candidate is a file that may be a report.
type candidate struct {
	id      string
	written time.Time
}

// newest returns the files that were written last, and counts the others; it reads the directory
// piece by piece.
func (s *Store) newest(ctx context.Context, found *Listing) ([]candidate, error) {
	folder, err := s.root.Open(".")
	if err != nil {
		return nil, err
	}
	defer folder.Close()
	var files []candidate
	for {
		names, err := folder.Readdirnames(maxListed)
		if err == nil {
			err = ctx.Err()
		}
		if err != nil && !errors.Is(err, io.EOF) {
			return nil, err
		}
		for _, name := range names {
			id, isJSON := strings.CutSuffix(name, ".json")
			if !isJSON || !ValidID(id) {
				continue
			}
			state, err := s.root.Lstat(name)
			switch {
			case errors.Is(err, fs.ErrNotExist):
			case err != nil:
				found.skip(err)
			case !state.Mode().IsRegular():
				found.skip(fmt.Errorf("%s: %w", name, errNotRegular))
			default:
				files = append(files, candidate{id, state.ModTime()})
			}
		}
		slices.SortFunc(files, func(a, b candidate) int { return b.written.Compare(a.written) })
		if surplus := len(files) - maxListed; surplus > 0 {
			found.Older += surplus
			files = files[:maxListed]
		}
		if len(names) == 0 {
			return files, nil
		}
	}
}
