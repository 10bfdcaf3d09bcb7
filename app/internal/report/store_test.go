package report

import (
	"errors"
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
	list, damaged := store.List()
	if len(damaged) != 0 || len(list) != 2 || list[0].ID != second.ID {
		t.Errorf("%+v %v", list, damaged)
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
	list, damaged := store.List()
	if len(list) != 1 || list[0].ID != kept.ID || len(damaged) != 1 {
		t.Errorf("%v %v", list, damaged)
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
	if list, damaged := store.List(); len(list) != 20 || len(damaged) != 0 {
		t.Errorf("%d %v", len(list), damaged)
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
