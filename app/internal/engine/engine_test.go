package engine

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"testing/iotest"
	"time"
)

// fake serves an engine's API on a socket: ping's version, and bodies by path.
func fake(t *testing.T, api string, bodies map[string]string) *Client {
	t.Helper()
	return serve(t, func(w http.ResponseWriter, r *http.Request) {
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
	})
}

func serve(t *testing.T, handler http.HandlerFunc) *Client {
	t.Helper()
	socket := filepath.Join(t.TempDir(), "s")
	listener, err := net.Listen("unix", socket)
	if err != nil {
		t.Fatal(err)
	}
	server := &httptest.Server{Listener: listener, Config: &http.Server{Handler: handler}}
	server.Start()
	t.Cleanup(server.Close)
	return New(socket, quiet)
}

var quiet = slog.New(slog.NewTextHandler(io.Discard, nil))

func list(client *Client) ([]Image, error) {
	var images []Image
	err := client.Images(context.Background(), func(image Image) error {
		images = append(images, image)
		return nil
	})
	return images, err
}

func TestImages(t *testing.T) {
	client := fake(t, "1.45", map[string]string{
		"/v1.45/images/json": `[{"Id":"sha256:1","RepoTags":["a:1"],"Created":1700000000,"Size":5,"Labels":{"x":"y"}},{"Id":"sha256:2"}]`,
	})
	images, err := list(client)
	if err != nil || len(images) != 2 {
		t.Fatal(images, err)
	}
	if images[0].Tags[0] != "a:1" || images[0].Size != 5 || images[0].Created.Year() != 2023 || string(images[0].Labels) != `{"x":"y"}` {
		t.Errorf("%+v", images[0])
	}
	if images[1].Tags == nil {
		t.Error("an image without tags must have an empty list")
	}
}

// With containerd's store, an engine since API 1.47 says what each platform takes.
func TestSizesArePlacedWhereTheyBelong(t *testing.T) {
	const id = "sha256:0123456789ab"
	manifests := `"Manifests":[
		{"Available":true,"Size":{"Content":3},"ImageData":{"Platform":{"os":"linux","architecture":"arm64","variant":"v8"},"Size":{"Unpacked":10}}},
		{"Available":true,"Size":{"Content":4},"ImageData":{"Platform":{"os":"linux","architecture":"arm","variant":"v7"},"Size":{"Unpacked":20}}},
		{"Available":false,"Size":{"Content":0},"ImageData":{"Platform":{"os":"linux","architecture":"amd64"},"Size":{"Unpacked":0}}},
		{"Available":true,"Size":{"Content":1}}]`
	for name, c := range map[string]struct {
		row, platforms    string
		content, unpacked int64 // -1 is unknown.
	}{
		"with manifests":                  {`"Size":38,` + manifests, "linux/arm64 linux/arm/v7", 8, 30},
		"containerd's store without them": {`"Size":38,"RepoDigests":["a@` + id + `"]`, "", -1, -1},
		"the older store":                 {`"Size":38,"RepoDigests":["a@sha256:9"]`, "", -1, 38},
		"one that does not say":           {`"Size":38`, "", -1, -1},
	} {
		client := fake(t, "1.47", map[string]string{"/v1.47/images/json": `[{"Id":"` + id + `",` + c.row + `}]`})
		images, err := list(client)
		if err != nil {
			t.Fatal(err)
		}
		got := images[0]
		if value(got.Content) != c.content || value(got.Unpacked) != c.unpacked || strings.Join(got.Platforms, " ") != c.platforms {
			t.Errorf("%s: %d %d %v", name, value(got.Content), value(got.Unpacked), got.Platforms)
		}
	}
}

func value(of *int64) int64 {
	if of == nil {
		return -1
	}
	return *of
}

func TestOnDiskIsWhatIsKnown(t *testing.T) {
	one, two := int64(1), int64(2)
	for want, sizes := range map[int64]Sizes{3: {&one, &two}, 2: {nil, &two}, 9: {&one, nil}} {
		if got := sizes.OnDisk(9); got != want {
			t.Errorf("%d, not %d", got, want)
		}
	}
}

func TestContainers(t *testing.T) {
	client := fake(t, "1.45", map[string]string{
		"/v1.45/containers/json": `[{"Id":"1","Names":["/web"],"ImageID":"sha256:1","State":"running"},{"Id":"2"},{"Names":["/x"]},{"Id":"` + strings.Repeat("3", maxElement) + `"}]`,
	})
	var found []Container
	err := client.Containers(context.Background(), func(one Container) error {
		found = append(found, one)
		return nil
	})
	if want := []Container{{"1", "web", "running", "sha256:1"}, {"2", "2", "", ""}}; err != nil || !slices.Equal(found, want) {
		t.Errorf("%v %v", found, err)
	}
}

func TestTheListIsAskedForAgainWhileImagesAreRemoved(t *testing.T) {
	for _, c := range []struct {
		failures int
		want     error
	}{{0, nil}, {listAttempts - 1, nil}, {listAttempts, ErrUnexpected}} {
		asked := 0
		client := serve(t, func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Api-Version", "1.45")
			if r.URL.Path == "/_ping" {
				return
			}
			if asked++; asked <= c.failures {
				w.WriteHeader(http.StatusNotFound)
				return
			}
			_, _ = w.Write([]byte(`[{"Id":"a"}]`))
		})
		images, err := list(client)
		if !errors.Is(err, c.want) || (err == nil && len(images) != 1) {
			t.Errorf("%d failures: %v %v", c.failures, images, err)
		}
	}
}

func TestInspect(t *testing.T) {
	client := fake(t, "1.45", map[string]string{
		"/v1.45/images/a%2Fb:1/json":    `{"Id":"sha256:1","Os":"linux","Architecture":"arm64","Size":7,"Config":{"User":"1001","Labels":{"k":"v"}}}`,
		"/v1.45/images/a%2Fb:1/history": `[{"CreatedBy":"COPY x","Size":3,"Comment":"c"}]`,
	})
	got, err := client.Inspect(context.Background(), "a/b:1")
	if err != nil || got.User != "1001" || got.Architecture != "arm64" || len(got.History) != 1 || got.History[0] != (Layer{nil, "COPY x", 3, "c"}) {
		t.Errorf("%+v %v", got, err)
	}
	if _, err := client.Inspect(context.Background(), "absent"); !errors.Is(err, ErrNotFound) {
		t.Errorf("absent: %v", err)
	}
}

func TestTheConfigurationOfAnImage(t *testing.T) {
	client := fake(t, "1.45", map[string]string{
		"/v1.45/images/a/json": `{"Id":"sha256:1","RepoDigests":["a@sha256:2","a@sha256:2"],"RootFS":{"Layers":["sha256:l"]},"Config":{"Env":["A=b"],"Entrypoint":["e"],` +
			`"Cmd":["c","d"],"WorkingDir":"/w","ExposedPorts":{"90/tcp":{},"80/tcp":{}},"Volumes":{"/v":{}},"Healthcheck":{"Test":["CMD","x"]},"StopSignal":"SIGINT"}}`,
		"/v1.45/images/a/history": "[]",
	})
	got, err := client.Inspect(context.Background(), "a")
	if err != nil {
		t.Fatal(err)
	}
	config := fmt.Sprintf("%+v", *got.Config)
	want := "{Env:[A=b] Entrypoint:[e] Command:[c d] WorkingDir:/w Ports:[80/tcp 90/tcp] Volumes:[/v] Healthcheck:[CMD x] StopSignal:SIGINT}"
	if config != want || !slices.Equal(got.Layers, []string{"sha256:l"}) || !slices.Equal(got.Digests, []string{"a@sha256:2"}) {
		t.Errorf("%s %v %v", config, got.Layers, got.Digests)
	}
}

// An engine with containerd's store that lists no manifests says of one image what its content takes,
// and in its list what content and files take.
func TestAReportHasTheSizesThatTheListHas(t *testing.T) {
	const id = "sha256:0123456789ab"
	for list, want := range map[string][2]int64{
		`[{"Id":"x","Size":5},{"Id":"` + id + `","Size":100}]`: {30, 70},
		`[{"Id":"x","Size":5}]`:                                {30, -1},
		`[{"Id":"` + id + `","Size":20}]`:                      {30, -1},
		"":                                                     {30, -1},
	} {
		client := fake(t, "1.45", map[string]string{
			"/v1.45/images/a/json":    `{"Id":"` + id + `","RepoTags":["a:1"],"RepoDigests":["a@` + id + `"],"Size":30}`,
			"/v1.45/images/a/history": "[]", "/v1.45/images/json": list,
		})
		if list == "" {
			client = fake(t, "1.45", map[string]string{
				"/v1.45/images/a/json": `{"Id":"` + id + `","RepoTags":["a:1"],"RepoDigests":["a@` + id + `"],"Size":30}`, "/v1.45/images/a/history": "[]",
			})
		}
		got, err := client.Inspect(context.Background(), "a")
		if err != nil || value(got.Content) != want[0] || value(got.Unpacked) != want[1] {
			t.Errorf("%s: %d %d %v", list, value(got.Content), value(got.Unpacked), err)
		}
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
			if _, err := list(client); err != nil {
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
		{"no list", "1.45", "{}"},
		{"a list that does not end", "1.45", `[{"Id":"a"}`},
		{"a list with a gap", "1.45", `[{"Id":"a"},,{"Id":"b"}]`},
		{"two lists", "1.45", "[][]"},
		{"nothing", "1.45", ""},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			client := fake(t, c.api, map[string]string{"/v1.45/images/json": c.body})
			if _, err := list(client); !errors.Is(err, ErrUnexpected) {
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
		_, err := list(New(socket, quiet))
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
	client := New(socket, quiet)
	if err := client.explain(os.ErrPermission); !strings.Contains(err.Error(), "--group-add") {
		t.Error(err)
	}
	ctx, cancel := context.WithTimeout(context.Background(), 50*time.Millisecond)
	defer cancel()
	if err := client.Images(ctx, nil); !errors.Is(err, ErrUnavailable) || !strings.Contains(err.Error(), "in time") || strings.Contains(err.Error(), "reached") {
		t.Error(err)
	}
}

func TestAnAnswerIsBounded(t *testing.T) {
	long := `{"Id":"` + strings.Repeat("x", maxObject) + `"}`
	steps := "[" + strings.Repeat("{},", maxSteps) + "{}]"
	for name, bodies := range map[string]map[string]string{
		"an image":            {"/v1.45/images/a/json": long},
		"its history":         {"/v1.45/images/a/json": "{}", "/v1.45/images/a/history": "[" + long + "]"},
		"its history's steps": {"/v1.45/images/a/json": "{}", "/v1.45/images/a/history": steps},
	} {
		if _, err := fake(t, "1.45", bodies).Inspect(context.Background(), "a"); !errors.Is(err, ErrUnexpected) || !strings.Contains(err.Error(), "more than") {
			t.Errorf("%s: %v", name, err)
		}
	}
	client := fake(t, "1.45", map[string]string{"/v1.45/images/json": "[1, 2, 3]"})
	body, err := client.open(context.Background(), "/images/json", 8)
	if err != nil {
		t.Fatal(err)
	}
	if text, err := io.ReadAll(body); !errors.Is(err, ErrUnexpected) || len(text) > 8 {
		t.Errorf("a list: %q %v", text, err)
	}
}

func TestAnAnswerThatBreaksOffIsToldFromOneThatIsWrong(t *testing.T) {
	socket := filepath.Join(t.TempDir(), "s")
	listener, err := net.Listen("unix", socket)
	if err != nil {
		t.Fatal(err)
	}
	server := &httptest.Server{Listener: listener, Config: &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Api-Version", "1.45")
		if r.URL.Path != "/_ping" {
			w.Header().Set("Content-Length", "100")
			_, _ = io.WriteString(w, `[{"Id":"a"}`)
		}
	})}}
	server.Start()
	defer server.Close()
	if _, err := list(New(socket, quiet)); !errors.Is(err, ErrUnavailable) {
		t.Error(err)
	}
}

// In the list of many images, one that is odd is the exception: the others are there all the same.
func TestOneOddImageDoesNotSpoilTheList(t *testing.T) {
	for name, c := range map[string]struct {
		row   string
		found bool
	}{
		"made after the year 9999":     {`{"Id":"odd","Created":253402343999}`, true},
		"made before the year 1":       {`{"Id":"odd","Created":-62135596801}`, true},
		"that does not say when":       {`{"Id":"odd","Created":-62135596800}`, true},
		"made at no time":              {`{"Id":"odd","Created":null}`, true},
		"made at a time that is large": {`{"Id":"odd","Created":9223372036854775807}`, true},
		"made at a time that is huge":  {`{"Id":"odd","Created":1e30}`, true},
		"made at a time in words":      {`{"Id":"odd","Created":"yesterday"}`, true},
		"with a size in words":         {`{"Id":"odd","Size":"large"}`, true},
		"without an ID":                {`{"Size":1}`, false},
		"that is none":                 {`null`, false},
		"that is a list":               {`[{"Id":"x]"}]`, false},
		"that is huge":                 {`{"Id":"odd","Labels":{"a":"` + strings.Repeat("]},[{", maxElement/5) + `"}}`, false},
	} {
		t.Run(name, func(t *testing.T) {
			var log strings.Builder
			client := fake(t, "1.45", map[string]string{"/v1.45/images/json": `[{"Id":"a","Created":1},` + c.row + `, {"Id":"z","Created":1}]`})
			client.log = slog.New(slog.NewTextHandler(&log, nil))
			images, err := list(client)
			if err != nil {
				t.Fatal(err)
			}
			if first, last := images[0], images[len(images)-1]; first.ID != "a" || last.ID != "z" || first.Created == nil {
				t.Errorf("%+v", images)
			}
			if found := len(images) == 3; found != c.found || found != (log.Len() == 0) {
				t.Errorf("%d images, and the log says %q", len(images), &log)
			}
			if len(images) == 3 && images[1].Created != nil && strings.Contains(c.row, "Created") {
				t.Errorf("made %s", images[1].Created)
			}
		})
	}
}

func TestTheLastTimesThatCanBeWrittenAreKept(t *testing.T) {
	for seconds, want := range map[int64]string{
		zeroTime + 1: "0001-01-01T00:00:01Z", 0: "1970-01-01T00:00:00Z", lastTime: "9999-12-31T23:59:59Z",
	} {
		var at moment
		if err := at.UnmarshalJSON(fmt.Append(nil, seconds)); err != nil || at.Time == nil {
			t.Fatal(seconds, err)
		}
		if got, err := at.MarshalText(); err != nil || string(got) != want {
			t.Errorf("%d: %s %v", seconds, got, err)
		}
	}
}

// Engines before API 1.43 have a name for what has none.
func TestANameThatSaysNoneIsNone(t *testing.T) {
	client := fake(t, "1.42", map[string]string{
		"/v1.42/images/json":      `[{"Id":"sha256:0123456789ab","RepoTags":["<none>:<none>"]}]`,
		"/v1.42/images/a/json":    `{"RepoTags":["<none>:<none>"],"RepoDigests":["<none>@<none>","a@sha256:1"]}`,
		"/v1.42/images/a/history": "[]",
	})
	images, err := list(client)
	if err != nil || len(images[0].Tags) != 0 || images[0].Reference() != "sha256:0123456789ab" {
		t.Errorf("%+v %v", images, err)
	}
	details, err := client.Inspect(context.Background(), "a")
	if err != nil || len(details.Tags) != 0 || len(details.Digests) != 1 {
		t.Errorf("%+v %v", details, err)
	}
}

func TestTheReferenceOfAnImageIsOneThatIsTaken(t *testing.T) {
	const id = "sha256:0123456789ab"
	for want, image := range map[string]Image{
		"a:1": {ID: id, Tags: []string{"a:1", "b:1"}},
		"b:1": {ID: id, Tags: []string{"A B", "b:1"}},
		id:    {ID: id, Tags: []string{"-"}},
		"":    {ID: "x y"},
	} {
		if got := image.Reference(); got != want {
			t.Errorf("%q, not %q", got, want)
		}
	}
}

func TestASocketIsAPathAlsoWhereItBeginsWithAnAt(t *testing.T) {
	t.Chdir(t.TempDir())
	listener, err := net.Listen("unix", "./@s")
	if err != nil {
		t.Fatal(err)
	}
	server := &httptest.Server{Listener: listener, Config: &http.Server{Handler: http.NotFoundHandler()}}
	server.Start()
	defer server.Close()
	if _, err := list(New("@s", quiet)); !errors.Is(err, ErrUnexpected) {
		t.Error(err)
	}
}

// What elements reads as a list of elements is what encoding/json reads.
func FuzzElements(f *testing.F) {
	for _, text := range []string{"[]", " [ ] ", "[1]", `["a,]\\\"",{"b":[1,[2]]}]`, "[1,]", "[,]", "[1}", "[1]x", "[", "", "{}", "[\u0085]"} {
		f.Add(text)
	}
	f.Fuzz(func(t *testing.T, text string) {
		var want, got []json.RawMessage
		wanted := strings.HasPrefix(strings.TrimLeft(text, blanks), "[") && json.Unmarshal([]byte(text), &want) == nil
		err := elements(iotest.OneByteReader(strings.NewReader(text)), func(element []byte) error {
			if !json.Valid(element) {
				return errors.New("not JSON")
			}
			got = append(got, json.RawMessage(bytes.Trim(bytes.Clone(element), blanks)))
			return nil
		})
		if (err == nil) != wanted {
			t.Fatalf("%q: %v", text, err)
		}
		if err == nil && !slices.EqualFunc(want, got, func(a, b json.RawMessage) bool { return bytes.Equal(a, b) }) {
			t.Errorf("%q: %q, not %q", text, got, want)
		}
	})
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
