package report

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/smiller333/dockerutilities/app/internal/engine"
)

func open(t *testing.T) (*Store, string) {
	t.Helper()
	dir := t.TempDir()
	store, err := Open(filepath.Join(dir, "data"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = store.Close() })
	return store, filepath.Join(dir, "data", "reports")
}

func list(t *testing.T, store *Store) Listing {
	t.Helper()
	found, err := store.List(context.Background())
	if err != nil {
		t.Fatal(err)
	}
	return found
}

// write puts a file in the place of a report, and returns the report's ID.
func write(t *testing.T, dir, digit, text string) string {
	t.Helper()
	id := strings.Repeat(digit, 32)
	if err := os.WriteFile(filepath.Join(dir, id+".json"), []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return id
}

func TestAReportIsKeptListedAndDeleted(t *testing.T) {
	store, dir := open(t)
	now := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	first, err := store.Add("a:1", engine.Details{ID: "x"}, now)
	if err != nil {
		t.Fatal(err)
	}
	second, err := store.Add("b:1", engine.Details{}, now.Add(time.Hour))
	if err != nil {
		t.Fatal(err)
	}
	got, err := store.Get(first.ID)
	if err != nil || got.Image != "a:1" || got.Details.ID != "x" || !got.Made.Equal(now) {
		t.Errorf("%+v %v", got, err)
	}
	if got := list(t, store); len(got.Skipped) != 0 || len(got.Reports) != 2 || got.Reports[0].ID != second.ID {
		t.Errorf("%+v", got)
	}
	if info, _ := os.Stat(filepath.Join(dir, first.ID+".json")); info == nil || info.Mode().Perm() != 0o600 {
		t.Errorf("mode %v", info)
	}
	if err := store.Delete(first.ID); err != nil {
		t.Error(err)
	}
	if err := store.Delete(first.ID); !errors.Is(err, ErrNotFound) {
		t.Error(err)
	}
	if _, err := store.Get(first.ID); !errors.Is(err, ErrNotFound) {
		t.Error(err)
	}
}

func TestNoOtherIDReachesTheDisk(t *testing.T) {
	store, dir := open(t)
	if err := os.WriteFile(filepath.Join(dir, "..", "secret.json"), []byte("{}"), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, id := range []string{"", "../secret", "..%2fsecret", strings.Repeat("A", 32), strings.Repeat("0", 33), "0\x00"} {
		if _, err := store.Get(id); !errors.Is(err, ErrNotFound) {
			t.Errorf("get %q: %v", id, err)
		}
		if err := store.Delete(id); !errors.Is(err, ErrNotFound) {
			t.Errorf("delete %q: %v", id, err)
		}
	}
}

func TestADamagedReportDoesNotBreakTheList(t *testing.T) {
	store, dir := open(t)
	kept, err := store.Add("a", engine.Details{}, time.Now())
	if err != nil {
		t.Fatal(err)
	}
	for name, text := range map[string]string{strings.Repeat("0", 32) + ".json": "{", "note.txt": "x", "odd.json": "{}"} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if got := list(t, store); len(got.Reports) != 1 || got.Reports[0].ID != kept.ID || len(got.Skipped) != 1 {
		t.Errorf("%+v", got)
	}
}

func TestALinkOutOfTheDirectoryIsNotFollowed(t *testing.T) {
	store, dir := open(t)
	outside := filepath.Join(t.TempDir(), "x.json")
	if err := os.WriteFile(outside, []byte(`{"id":"x"}`), 0o600); err != nil {
		t.Fatal(err)
	}
	id := strings.Repeat("1", 32)
	if err := os.Symlink(outside, filepath.Join(dir, id+".json")); err != nil {
		t.Fatal(err)
	}
	if _, err := store.Get(id); err == nil {
		t.Error("it was read")
	}
}

func TestManyAtOnceLeaveNothingHalfWritten(t *testing.T) {
	store, dir := open(t)
	var group sync.WaitGroup
	for range 20 {
		group.Add(1)
		go func() {
			defer group.Done()
			if _, err := store.Add("a", engine.Details{}, time.Now()); err != nil {
				t.Error(err)
			}
		}()
	}
	group.Wait()
	if got := list(t, store); len(got.Reports) != 20 || len(got.Skipped) != 0 {
		t.Errorf("%+v", got)
	}
	left, _ := filepath.Glob(filepath.Join(dir, ".*"))
	if len(left) != 0 {
		t.Errorf("left behind: %v", left)
	}
}

func TestADirectoryThatCanNotBeUsedIsRefused(t *testing.T) {
	file := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	for _, dir := range []string{file, filepath.Join(file, "below"), "/proc/no-such"} {
		if _, err := Open(dir); err == nil {
			t.Errorf("%s was taken", dir)
		}
	}
}

func TestADirectoryThatIsGoneIsAnError(t *testing.T) {
	store, dir := open(t)
	if err := os.RemoveAll(dir); err != nil {
		t.Fatal(err)
	}
	if _, err := store.Add("a", engine.Details{}, time.Now()); err == nil {
		t.Error("a report was kept nowhere")
	}
}

const image = `"image":"a","made":"2026-01-02T03:04:05Z"`

func TestTheNameOfTheFileIsTheID(t *testing.T) {
	store, dir := open(t)
	for digit, text := range map[string]string{
		"1": `{"id":"` + strings.Repeat("f", 32) + `",` + image + `}`,
		"2": `{"id":"../../etc/x",` + image + `}`,
		"3": `{"id":null,` + image + `}`,
		"4": `{` + image + `}`,
	} {
		id := write(t, dir, digit, text)
		if got, err := store.Get(id); err != nil || got.ID != id {
			t.Errorf("%s: %q %v", text, got.ID, err)
		}
		if got := list(t, store); len(got.Reports) != 1 || got.Reports[0].ID != id {
			t.Errorf("%s: %+v", text, got)
		}
		if err := store.Delete(id); err != nil {
			t.Errorf("%s: %v", text, err)
		}
	}
}

func TestWhatIsNoReportIsSkippedAndCanBeDeleted(t *testing.T) {
	store, dir := open(t)
	for name, text := range map[string]string{
		"nothing":                "",
		"null":                   "null",
		"an empty object":        "{}",
		"a list":                 "[]",
		"more than one value":    "{" + image + "}{}",
		"another type":           `{"image":1}`,
		"no reference":           `{"image":"../x","made":"2026-01-02T03:04:05Z"}`,
		"a time that is none":    `{"image":"a","made":"` + strings.Repeat("x", 5000) + `"}`,
		"a time after year 9999": `{"image":"a","made":"9999-12-31T23:59:59-12:00"}`,
		"too large":              "{" + image + `,"x":"` + strings.Repeat("x", maxReport) + `"}`,
	} {
		t.Run(name, func(t *testing.T) {
			id := write(t, dir, "1", text)
			if got, err := store.Get(id); err == nil || errors.Is(err, ErrNotFound) || len(err.Error()) > 400 {
				t.Errorf("%+v %v", got, err)
			}
			if got := list(t, store); len(got.Reports) != 0 || len(got.Skipped) != 1 {
				t.Errorf("%+v", got)
			}
			if err := store.Delete(id); err != nil {
				t.Error(err)
			}
		})
	}
}

func TestADirectoryInThePlaceOfAReportStays(t *testing.T) {
	store, dir := open(t)
	id := strings.Repeat("1", 32)
	path := filepath.Join(dir, id+".json")
	if err := os.Mkdir(path, 0o700); err != nil {
		t.Fatal(err)
	}
	if err := store.Delete(id); !errors.Is(err, ErrNotFound) {
		t.Error(err)
	}
	if _, err := os.Stat(path); err != nil {
		t.Error(err)
	}
}

func TestALinkToAnotherReportIsNone(t *testing.T) {
	store, dir := open(t)
	kept, id := write(t, dir, "1", "{"+image+"}"), strings.Repeat("2", 32)
	if err := os.Symlink(kept+".json", filepath.Join(dir, id+".json")); err != nil {
		t.Fatal(err)
	}
	if _, err := store.Get(id); !errors.Is(err, ErrNotFound) {
		t.Error(err)
	}
	if err := store.Delete(id); !errors.Is(err, ErrNotFound) {
		t.Error(err)
	}
	if got := list(t, store); len(got.Reports) != 1 || got.Reports[0].ID != kept || len(got.Skipped) != 1 {
		t.Errorf("%+v", got)
	}
}

func TestAListIsBounded(t *testing.T) {
	store, dir := open(t)
	const more = 7
	newest := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	for i := range maxListed + more {
		// What was written last is at the front, whatever order the directory has.
		name := filepath.Join(dir, fmt.Sprintf("%032x.json", (i*7919)%100_003))
		made := newest.Add(-time.Duration(i) * time.Minute)
		if err := os.WriteFile(name, fmt.Appendf(nil, `{"image":"a","made":%q}`, made.Format(time.RFC3339)), 0o600); err != nil {
			t.Fatal(err)
		}
		if err := os.Chtimes(name, made, made); err != nil {
			t.Fatal(err)
		}
	}
	for i := range maxNamed + more {
		if err := os.Mkdir(filepath.Join(dir, fmt.Sprintf("f%031x.json", i)), 0o700); err != nil {
			t.Fatal(err)
		}
	}
	got := list(t, store)
	if len(got.Reports) != maxListed || got.Older != more || len(got.Skipped) != maxNamed || got.Unnamed != more {
		t.Errorf("%d reports, %d older, %d skipped, %d more", len(got.Reports), got.Older, len(got.Skipped), got.Unnamed)
	}
	for i, one := range got.Reports {
		if want := newest.Add(-time.Duration(i) * time.Minute); !one.Made.Equal(want) {
			t.Fatalf("%d: %s, not %s", i, one.Made, want)
		}
	}
	gone, cancel := context.WithCancel(context.Background())
	cancel()
	if _, err := store.List(gone); !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
}

func TestWhatIsTooLargeToBeReadIsNotKept(t *testing.T) {
	store, dir := open(t)
	details := engine.Details{History: []engine.Layer{{CreatedBy: strings.Repeat("x", maxReport)}}}
	if _, err := store.Add("a", details, time.Now()); !errors.Is(err, ErrTooLarge) {
		t.Error(err)
	}
	if left, _ := os.ReadDir(dir); len(left) != 0 {
		t.Errorf("left behind: %v", left)
	}
}

func TestTheLabelsAreKeptAsTheyAre(t *testing.T) {
	store, _ := open(t)
	made, err := store.Add("a", engine.Details{Labels: json.RawMessage(`{"a":"<b>"}`)}, time.Now())
	if err != nil {
		t.Fatal(err)
	}
	var labels map[string]string
	got, err := store.Get(made.ID)
	if err != nil || json.Unmarshal(got.Details.Labels, &labels) != nil || labels["a"] != "<b>" {
		t.Errorf("%s %v", got.Details.Labels, err)
	}
}
