package engine

import (
	"context"
	"errors"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// fake serves an engine's API on a socket: ping's version, and bodies by path.
func fake(t *testing.T, api string, bodies map[string]string) *Client {
	t.Helper()
	socket := filepath.Join(t.TempDir(), "s")
	listener, err := net.Listen("unix", socket)
	if err != nil {
		t.Fatal(err)
	}
	server := &httptest.Server{Listener: listener, Config: &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Method != http.MethodGet {
			t.Errorf("the engine was asked to change something: %s %s", r.Method, r.URL)
		}
		w.Header().Set("Api-Version", api)
		body, found := bodies[r.URL.EscapedPath()]
		if r.URL.Path == "/_ping" {
			return
		}
		if !found {
			w.WriteHeader(http.StatusNotFound)
			return
		}
		if body == "500" {
			w.WriteHeader(http.StatusInternalServerError)
			return
		}
		_, _ = w.Write([]byte(body))
	})}}
	server.Start()
	t.Cleanup(server.Close)
	return New(socket)
}

func TestImages(t *testing.T) {
	client := fake(t, "1.45", map[string]string{
		"/v1.45/images/json": `[{"Id":"sha256:1","RepoTags":["a:1"],"Created":1700000000,"Size":5,"Labels":{"x":"y"}},{"Id":"sha256:2"}]`,
	})
	images, err := client.Images(context.Background())
	if err != nil || len(images) != 2 {
		t.Fatal(images, err)
	}
	if images[0].Tags[0] != "a:1" || images[0].Size != 5 || images[0].Created.Year() != 2023 || images[0].Labels["x"] != "y" {
		t.Errorf("%+v", images[0])
	}
	if images[1].Tags == nil {
		t.Error("an image without tags must have an empty list")
	}
}

func TestInspect(t *testing.T) {
	client := fake(t, "1.45", map[string]string{
		"/v1.45/images/a%2Fb:1/json":    `{"Id":"sha256:1","Os":"linux","Architecture":"arm64","Size":7,"Config":{"User":"1001","Labels":{"k":"v"}}}`,
		"/v1.45/images/a%2Fb:1/history": `[{"CreatedBy":"COPY x","Size":3}]`,
	})
	got, err := client.Inspect(context.Background(), "a/b:1")
	if err != nil || got.User != "1001" || got.Architecture != "arm64" || len(got.History) != 1 || got.History[0].CreatedBy != "COPY x" {
		t.Errorf("%+v %v", got, err)
	}
	if _, err := client.Inspect(context.Background(), "absent"); !errors.Is(err, ErrNotFound) {
		t.Errorf("absent: %v", err)
	}
}

func TestHistoryThatFailsFailsTheWhole(t *testing.T) {
	client := fake(t, "1.45", map[string]string{"/v1.45/images/a/json": `{}`, "/v1.45/images/a/history": "500"})
	if _, err := client.Inspect(context.Background(), "a"); !errors.Is(err, ErrUnexpected) {
		t.Error(err)
	}
}

func TestTheNewestVersionThatBothKnowIsUsed(t *testing.T) {
	cases := []struct{ name, theirs, oldest, want string }{
		{"an older engine", "1.24", "", "1.24"},
		{"a newer engine", "1.99", "1.24", newestAPI},
		{"an engine that left us behind", "1.99", "1.60", "1.60"},
		{"an engine that does not say its oldest", "1.99", "x", newestAPI},
		{"a major version", "2.0", "1.60", "1.60"},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			client := fake(t, c.theirs, map[string]string{
				"/version": `{"MinAPIVersion":"` + c.oldest + `"}`, "/v" + c.want + "/images/json": "[]",
			})
			if _, err := client.Images(context.Background()); err != nil {
				t.Error(err)
			}
		})
	}
}

func TestUnexpectedAnswers(t *testing.T) {
	cases := []struct{ name, api, body string }{
		{"no version", "", "[]"},
		{"not JSON", "1.45", "<html>"},
		{"a failure", "1.45", "500"},
		{"too much", "1.45", `"` + strings.Repeat("x", maxAnswer+1) + `"`},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			client := fake(t, c.api, map[string]string{"/v1.45/images/json": c.body})
			if _, err := client.Images(context.Background()); !errors.Is(err, ErrUnexpected) {
				t.Error(err)
			}
		})
	}
}

func TestAnEngineThatCanNotBeReachedSaysWhy(t *testing.T) {
	file := filepath.Join(t.TempDir(), "file")
	dead := filepath.Join(t.TempDir(), "dead")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	listener, err := net.ListenUnix("unix", &net.UnixAddr{Name: dead, Net: "unix"})
	if err != nil {
		t.Fatal(err)
	}
	listener.SetUnlinkOnClose(false)
	listener.Close()
	for socket, why := range map[string]string{
		"/nonexistent/s": "does not exist", file: "is not a socket", dead: "refused",
	} {
		_, err := New(socket).Images(context.Background())
		if !errors.Is(err, ErrUnavailable) || !strings.Contains(err.Error(), why) {
			t.Errorf("%s: %v", why, err)
		}
	}
}

func TestPermissionAndTimeAreExplained(t *testing.T) {
	socket := filepath.Join(t.TempDir(), "s")
	listener, err := net.Listen("unix", socket)
	if err != nil {
		t.Fatal(err)
	}
	defer listener.Close()
	client := New(socket)
	if err := client.explain(os.ErrPermission); !strings.Contains(err.Error(), "--group-add") {
		t.Error(err)
	}
	ctx, cancel := context.WithTimeout(context.Background(), 50*time.Millisecond)
	defer cancel()
	if _, err := client.Images(ctx); !errors.Is(err, ErrUnavailable) || !strings.Contains(err.Error(), "in time") {
		t.Error(err)
	}
}

func FuzzValidReference(f *testing.F) {
	for _, good := range []string{"alpine", "a/b:1", "localhost:5000/x", "ghcr.io/a/b@sha256:" + strings.Repeat("0", 64), "[::1]:5000/x", "a-b.C1:5/x", "a/b:1..2", "sha256:0123456789ab"} {
		if !ValidReference(good) {
			f.Errorf("%q is a reference", good)
		}
		f.Add(good)
	}
	for _, bad := range []string{"", "../x", "a//b", "A", "a:", "a b", "a?x=1", "a#b", "a\n", "/a", "a/../b", "a..b/c", "a./c", ".a/c", "a.-b/c", strings.Repeat("a", 513)} {
		if ValidReference(bad) {
			f.Errorf("%q is no reference", bad)
		}
		f.Add(bad)
	}
	f.Fuzz(func(t *testing.T, text string) {
		if ValidReference(text) && (strings.ContainsAny(text, " ?#%\\\n\x00") || strings.Contains(beforeTag(text), "..")) {
			t.Errorf("%q must not reach a URL", text)
		}
	})
}

// beforeTag leaves tag and digest away: the grammar lets a tag have two dots, a name not.
func beforeTag(reference string) string {
	last := strings.LastIndex(reference, "/") + 1
	name, _, _ := strings.Cut(reference[last:], ":")
	return reference[:last] + name
}
