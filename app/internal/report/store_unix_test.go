//go:build unix

package report

import (
	"errors"
	"net"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

// within fails where something waits, instead of waiting with it.
func within(t *testing.T, do func()) {
	t.Helper()
	done := make(chan struct{})
	go func() {
		defer close(done)
		do()
	}()
	select {
	case <-done:
	case <-time.After(20 * time.Second):
		t.Fatal("it hangs")
	}
}

func TestWhatIsNoRegularFileIsSkipped(t *testing.T) {
	for name, put := range map[string]func(path string) error{
		"a FIFO": func(path string) error { return syscall.Mkfifo(path, 0o600) },
		"a socket": func(path string) error {
			// The path itself is too long for an address.
			short := filepath.Join(filepath.Dir(path), "s")
			listener, err := net.ListenUnix("unix", &net.UnixAddr{Name: short, Net: "unix"})
			if err != nil {
				return err
			}
			listener.SetUnlinkOnClose(false)
			return errors.Join(listener.Close(), os.Rename(short, path))
		},
		"a link to a device": func(path string) error { return os.Symlink("/dev/zero", path) },
		"a link to a FIFO": func(path string) error {
			return errors.Join(syscall.Mkfifo(path+"x", 0o600), os.Symlink(filepath.Base(path)+"x", path))
		},
		"a link to nothing":   func(path string) error { return os.Symlink("nothing", path) },
		"a link to itself":    func(path string) error { return os.Symlink(filepath.Base(path), path) },
		"an empty directory":  func(path string) error { return os.Mkdir(path, 0o700) },
		"a link to directory": func(path string) error { return os.Symlink(".", path) },
	} {
		t.Run(name, func(t *testing.T) {
			store, dir := open(t)
			kept, id := write(t, dir, "1", "{"+image+"}"), strings.Repeat("2", 32)
			if err := put(filepath.Join(dir, id+".json")); err != nil {
				t.Fatal(err)
			}
			within(t, func() {
				if _, err := store.Get(id); !errors.Is(err, ErrNotFound) {
					t.Error(err)
				}
				if err := store.Delete(id); !errors.Is(err, ErrNotFound) {
					t.Error(err)
				}
				got := list(t, store)
				if len(got.Reports) != 1 || got.Reports[0].ID != kept || len(got.Skipped) != 1 {
					t.Errorf("%+v", got)
				}
			})
			if _, err := os.Lstat(filepath.Join(dir, id+".json")); err != nil {
				t.Error(err)
			}
		})
	}
}

func TestASparseFileOfThreeGigabytesIsNotRead(t *testing.T) {
	store, dir := open(t)
	id := write(t, dir, "1", "")
	if err := os.Truncate(filepath.Join(dir, id+".json"), 3<<30); err != nil {
		t.Fatal(err)
	}
	if got := list(t, store); len(got.Reports) != 0 || len(got.Skipped) != 1 || !strings.Contains(got.Skipped[0].Error(), "has 3221225472 bytes") {
		t.Errorf("%+v", got)
	}
	if _, err := store.Get(id); err == nil {
		t.Error("it was read")
	}
	if err := store.Delete(id); err != nil {
		t.Error(err)
	}
}

// What is looked at may be replaced before it is opened.
func TestAFileThatTurnsIntoSomethingElseIsNotRead(t *testing.T) {
	for name, replace := range map[string]func(path string) error{
		"a FIFO":         func(path string) error { return syscall.Mkfifo(path, 0o600) },
		"a link":         func(path string) error { return os.Symlink("other", path) },
		"another report": func(path string) error { return os.Link(filepath.Join(filepath.Dir(path), "other"), path) },
	} {
		t.Run(name, func(t *testing.T) {
			store, dir := open(t)
			file := write(t, dir, "1", "{"+image+"}") + ".json"
			path := filepath.Join(dir, file)
			seen, err := os.Lstat(path)
			if err != nil {
				t.Fatal(err)
			}
			err = errors.Join(
				os.WriteFile(filepath.Join(dir, "other"), []byte("{"+image+"}"), 0o600),
				os.Rename(path, path+".old"), replace(path))
			if err != nil {
				t.Fatal(err)
			}
			within(t, func() {
				if file, err := store.open(file, seen); !errors.Is(err, errNotRegular) {
					t.Error(file, err)
				}
			})
		})
	}
}
