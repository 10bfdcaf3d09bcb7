package web

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http/httptest"
	"net/url"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/smiller333/dockerutilities/app/internal/engine"
)

// listEngine has these images and containers, and counts how often it is asked for its images.
type listEngine struct {
	fakeEngine
	images     []engine.Image
	containers []engine.Container
	refused    error
	asked      *int
}

func (l listEngine) Images(_ context.Context, each func(engine.Image) error) error {
	*l.asked++
	for _, image := range l.images {
		if err := each(image); err != nil {
			return err
		}
	}
	return nil
}

func (l listEngine) Containers(_ context.Context, each func(engine.Container) error) error {
	for _, one := range l.containers {
		if err := each(one); err != nil {
			return err
		}
	}
	return l.refused
}

func at(seconds int64) *time.Time {
	found := time.Unix(seconds, 0).UTC()
	return &found
}

func number(value int64) *int64 { return &value }

// some are images of which two were made at one time, and one has no tag.
func some() listEngine {
	return listEngine{
		images: []engine.Image{
			{ID: "sha256:c", Tags: []string{"beta:1"}, Created: at(50), Size: 300},
			{ID: "sha256:b", Tags: []string{"alpha:1", "Zeta:9"}, Created: at(50), Size: 100, Platforms: []string{"linux/arm64"}},
			{ID: "sha256:a", Tags: []string{}, Created: nil, Size: 200, Sizes: engine.Sizes{Content: number(150), Unpacked: number(250)}},
			{ID: "sha256:d", Tags: []string{"gamma:1"}, Created: at(90), Size: 50, Digests: []string{"gamma@sha256:f00"}},
		},
		containers: []engine.Container{
			{ID: "1", Name: "web", State: "running", Image: "sha256:b"}, {ID: "2", Name: "db", State: "exited", Image: "sha256:b"},
			{ID: "3", Name: "cache", State: "running", Image: "sha256:d"},
		},
		asked: new(int),
	}
}

func ids(rows []row) string {
	found := ""
	for _, one := range rows {
		found += strings.TrimPrefix(one.ID, "sha256:")
	}
	return found
}

func listed(t *testing.T, eng Engine) *listing {
	t.Helper()
	s := &server{engine: eng, log: quietLog}
	found, err := s.readListing(context.Background())
	if err != nil {
		t.Fatal(err)
	}
	return found
}

func TestAQueryFindsAndSorts(t *testing.T) {
	l := listed(t, some())
	for query, want := range map[string]string{
		"": "dbca", "sort=-created": "acbd", "sort=name": "bcda", "sort=-name": "adcb", "sort=size": "acbd",
		"sort=-size": "dbca", "sort=containers": "bdca", "sort=-containers": "cadb", "sort=nonsense": "dbca",
		"q=ALPHA": "b", "q=zeta": "b", "q=alpha+beta": "", "q=arm64": "b", "q=f00": "d", "q=cache": "d", "q=sha256": "dbca",
		"show=tagged": "dbc", "show=dangling": "a", "show=used": "db", "show=unused": "ca", "show=used&q=gamma": "d",
	} {
		values, err := url.ParseQuery(query)
		if err != nil {
			t.Fatal(err)
		}
		if got := ids(l.answer(queryOf(values)).Rows); got != want {
			t.Errorf("%q: %s, not %s", query, got, want)
		}
	}
}

func TestTotalsAreOfAllImages(t *testing.T) {
	got := listed(t, some()).answer(queryOf(url.Values{"q": {"alpha"}}))
	if got.All != (sum{4, 850}) || got.Dangling != (sum{1, 400}) || got.Unused != (sum{2, 700}) || got.Summary() != "1 image" {
		t.Errorf("%+v", got)
	}
}

func TestPagesOfALongList(t *testing.T) {
	l := &listing{}
	for i := range 2*imagesAPage + 1 {
		l.rows = append(l.rows, row{Image: engine.Image{ID: fmt.Sprint(i)}})
	}
	for page, want := range map[string][]int{
		"": {100, 1, 2, 0}, "1": {100, 1, 2, 0}, "2": {100, 2, 3, 1}, "3": {1, 3, 0, 2}, "9": {1, 3, 0, 2}, "-1": {100, 1, 2, 0}, "x": {100, 1, 2, 0},
	} {
		got := l.answer(queryOf(url.Values{"page": {page}}))
		if is := []int{len(got.Rows), got.Page, got.Next(), got.Previous()}; !slices.Equal(is, want) {
			t.Errorf("%q: %v, not %v", page, is, want)
		}
	}
	if got := l.answer(queryOf(url.Values{"page": {"2"}})).Summary(); got != "201 images, 101 to 200 shown" {
		t.Error(got)
	}
}

func TestAnAddressHasWhatIsNotUsual(t *testing.T) {
	q := queryOf(url.Values{"q": {" a b "}, "show": {"used"}, "sort": {"size"}, "page": {"3"}})
	for got, want := range map[string]string{
		q.At(1): "/?q=a+b&show=used&sort=size", q.At(2): "/?page=2&q=a+b&show=used&sort=size",
		q.Sorted("size"): "/?q=a+b&show=used&sort=-size", q.Sorted("created"): "/?q=a+b&show=used",
		q.Only("all"): "/?q=a+b&sort=size", queryOf(nil).At(1): "/",
		q.Direction("size"): "descending", q.Direction("name"): "none", queryOf(url.Values{"sort": {"name"}}).Direction("name"): "ascending",
	} {
		if got != want {
			t.Errorf("%s, not %s", got, want)
		}
	}
}

// The page's script searches what the page was made of; whoever loads the page again sees what is there now.
func TestTheEngineIsAskedOnceForASearchAndAgainForAReload(t *testing.T) {
	eng := some()
	handler, _, _ := serveWith(t, eng, io.Discard)
	page := call{method: "GET", path: "/"}.to(handler).Body.String()
	list := regexp.MustCompile(`data-list="([0-9a-f]+)"`).FindStringSubmatch(page)[1]
	got := call{method: "GET", path: "/?q=alpha&list=" + list}.to(handler).Body.String()
	if *eng.asked != 1 || !strings.Contains(got, "alpha:1") || strings.Contains(got, "beta:1") {
		t.Errorf("asked %d times: %s", *eng.asked, got)
	}
	call{method: "GET", path: "/?list=" + strings.Repeat("0", 16)}.to(handler)
	call{method: "GET", path: "/"}.to(handler)
	if *eng.asked != 3 {
		t.Errorf("asked %d times", *eng.asked)
	}
}

// Two images of one time are in one order, whatever order the engine has.
func TestTheOrderIsTheSameAtEachReload(t *testing.T) {
	eng := some()
	var first [2]string
	for turn := range 4 {
		slices.Reverse(eng.images[turn%2:])
		handler, _, _ := serveWith(t, eng, io.Discard)
		for i, path := range []string{"/", "/api/images"} {
			text := call{method: "GET", path: path}.to(handler).Body.String()
			found := fmt.Sprint(regexp.MustCompile(`(?:alpha|beta|gamma):1`).FindAllString(text, -1))
			if first[i] == "" {
				first[i] = found
			}
			if found != first[i] {
				t.Errorf("%s: %s and %s", path, first[i], found)
			}
		}
	}
}

func TestTheAPIHasWhatThePageShows(t *testing.T) {
	handler, _, _ := serveWith(t, some(), io.Discard)
	var got struct{ Images []map[string]any }
	if err := json.Unmarshal(call{method: "GET", path: "/api/images"}.to(handler).Body.Bytes(), &got); err != nil {
		t.Fatal(err)
	}
	last := got.Images[3]
	if last["id"] != "sha256:a" || last["content_size"] != 150.0 || last["unpacked_size"] != 250.0 || !reflect.DeepEqual(last["containers"], []any{}) {
		t.Errorf("%v", last)
	}
	if first := got.Images[0]; first["unpacked_size"] != nil || len(first["containers"].([]any)) != 1 {
		t.Errorf("%v", first)
	}
}

// A proxy in front of the engine may let us see images alone.
func TestWithoutTheListOfContainersImagesAreShown(t *testing.T) {
	eng := some()
	eng.refused = errors.New("forbidden")
	handler, _, _ := serveWith(t, eng, io.Discard)
	page := call{method: "GET", path: "/"}.to(handler).Body.String()
	if !strings.Contains(page, "alpha:1") || strings.Contains(page, "unused</") || !strings.Contains(page, "<small>unknown</small>") {
		t.Error(page)
	}
	if got := (call{method: "GET", path: "/api/images"}).to(handler).Body.String(); !strings.Contains(got, `"containers":null`) {
		t.Error(got)
	}
}

func TestAnEngineWithoutImagesSaysSo(t *testing.T) {
	handler, _, _ := serveWith(t, manyImages{}, io.Discard)
	for path, want := range map[string]string{"/": "no images yet", "/api/images": `{"images":[]}`, "/reports": "None yet"} {
		if got := (call{method: "GET", path: path}).to(handler); got.Code != 200 || !strings.Contains(got.Body.String(), want) {
			t.Errorf("%s: %s", path, got.Body)
		}
	}
	handler, _, _ = serveWith(t, some(), io.Discard)
	if got := (call{method: "GET", path: "/?q=nowhere"}).to(handler).Body.String(); !strings.Contains(got, "No image matches") {
		t.Error(got)
	}
}

func tenThousand() listEngine {
	eng := listEngine{asked: new(int)}
	for i := range 10_000 {
		id := fmt.Sprintf("sha256:%064x", i)
		eng.images = append(eng.images, engine.Image{ID: id, Tags: []string{fmt.Sprintf("registry.example/team/image-%d:1.2.3", i)}, Created: at(int64(i)), Size: int64(i)})
		eng.containers = append(eng.containers, engine.Container{ID: fmt.Sprint(i), Name: fmt.Sprint("c", i), Image: id})
	}
	return eng
}

func TestTenThousandImagesAreShownAtOnce(t *testing.T) {
	handler, _, _ := serveWith(t, tenThousand(), io.Discard)
	for _, path := range []string{"/", "/?q=image-77&sort=-size", "/?page=100"} {
		started := time.Now()
		got := call{method: "GET", path: path}.to(handler)
		if took := time.Since(started); got.Code != 200 || got.Body.Len() > 400_000 || took > 2*time.Second {
			t.Errorf("%s: %d, %d bytes, %s", path, got.Code, got.Body.Len(), took)
		}
	}
}

func BenchmarkThePageOfTenThousandImages(b *testing.B) {
	s := &server{engine: tenThousand(), log: quietLog}
	handler := s.bounded(newGate(1), s.page)
	for b.Loop() {
		handler.ServeHTTP(httptest.NewRecorder(), httptest.NewRequest("GET", "/?q=image", nil))
	}
}
