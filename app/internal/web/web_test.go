package web

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/smiller333/dockerutilities/app/internal/engine"
	"github.com/smiller333/dockerutilities/app/internal/report"
)

type fakeEngine struct{ err error }

func (f fakeEngine) Images(_ context.Context, each func(engine.Image) error) error {
	for _, image := range []engine.Image{
		{ID: "sha256:1", Tags: []string{"a<b>:1"}, Size: 1234567, Labels: json.RawMessage(`{"l":"1"}`)},
		{ID: "sha256:0123456789ab", Tags: []string{}},
	} {
		if err := each(image); err != nil {
			return err
		}
	}
	return f.err
}

func (f fakeEngine) Containers(_ context.Context, each func(engine.Container) error) error {
	return each(engine.Container{ID: "c", Name: "web", State: "running", Image: "sha256:1"})
}

func (f fakeEngine) Inspect(_ context.Context, reference string) (engine.Details, error) {
	if reference == "absent" {
		return engine.Details{}, engine.ErrNotFound
	}
	return engine.Details{ID: "sha256:1", Size: 2_000_000_000}, f.err
}

func serve(t *testing.T, err error) (http.Handler, string) {
	t.Helper()
	return serveLogging(t, err, io.Discard)
}

func serveLogging(t *testing.T, err error, log io.Writer) (http.Handler, string) {
	t.Helper()
	handler, _, dir := serveWith(t, fakeEngine{err}, log)
	return handler, dir
}

func serveWith(t *testing.T, eng Engine, log io.Writer) (http.Handler, *report.Store, string) {
	t.Helper()
	dir := t.TempDir()
	store, openErr := report.Open(dir)
	if openErr != nil {
		t.Fatal(openErr)
	}
	t.Cleanup(func() { _ = store.Close() })
	info := Info{Version: "1.2.3", Revision: "r", Created: "c", GoVersion: "go", Platform: "linux/amd64"}
	return New(info, eng, store, []string{"my.example", "Typed.Example"}, slog.New(slog.NewTextHandler(log, nil))), store, dir
}

type call struct {
	method, path, body, host string
	headers                  map[string]string
}

func (c call) to(handler http.Handler) *httptest.ResponseRecorder {
	request := httptest.NewRequest(c.method, c.path, strings.NewReader(c.body))
	request.Host = "127.0.0.1:8080"
	if c.host != "" {
		request.Host = c.host
	}
	if c.method == http.MethodPost && strings.HasPrefix(c.path, "/api") {
		request.Header.Set("Content-Type", "application/json")
	}
	for name, value := range c.headers {
		request.Header.Set(name, value)
	}
	recorder := httptest.NewRecorder()
	handler.ServeHTTP(recorder, request)
	return recorder
}

func TestHealth(t *testing.T) {
	handler, _ := serve(t, nil)
	got := call{method: "GET", path: "/api/health"}.to(handler)
	want := `{"status":"healthy","version":"1.2.3","revision":"r","created":"c","go_version":"go","platform":"linux/amd64"}`
	if got.Code != 200 || strings.TrimSpace(got.Body.String()) != want {
		t.Errorf("%d %s", got.Code, got.Body)
	}
}

func TestStatusCodes(t *testing.T) {
	body := `{"image":"a:1"}`
	cases := []struct {
		name string
		err  error
		call call
		code int
	}{
		{"images", nil, call{method: "GET", path: "/api/images"}, 200},
		{"images without an engine", engine.ErrUnavailable, call{method: "GET", path: "/api/images"}, 503},
		{"images of an odd engine", engine.ErrUnexpected, call{method: "GET", path: "/api/images"}, 502},
		{"something else went wrong", errors.New("/secret/path"), call{method: "GET", path: "/api/images"}, 500},
		{"a report", nil, call{method: "POST", path: "/api/reports", body: body}, 201},
		{"a report of no image", nil, call{method: "POST", path: "/api/reports", body: `{"image":"absent"}`}, 404},
		{"a report without an engine", engine.ErrUnavailable, call{method: "POST", path: "/api/reports", body: body}, 503},
		{"no JSON", nil, call{method: "POST", path: "/api/reports", body: "image=a"}, 400},
		{"two values", nil, call{method: "POST", path: "/api/reports", body: body + body}, 400},
		{"an unknown field", nil, call{method: "POST", path: "/api/reports", body: `{"img":"a"}`}, 400},
		{"no reference", nil, call{method: "POST", path: "/api/reports", body: `{"image":"../etc"}`}, 400},
		{"another type of value", nil, call{method: "POST", path: "/api/reports", body: `{"image":1}`}, 400},
		{"too large", nil, call{method: "POST", path: "/api/reports", body: `{"image":"` + strings.Repeat("a", maxBody) + `"}`}, 413},
		{"another type", nil, call{method: "POST", path: "/api/reports", body: body, headers: map[string]string{"Content-Type": "text/plain"}}, 415},
		{"no such report", nil, call{method: "GET", path: "/api/reports/" + strings.Repeat("0", 32)}, 404},
		{"an ID that is a path", nil, call{method: "DELETE", path: "/api/reports/..%2f..%2fx"}, 404},
		{"another method", nil, call{method: "PUT", path: "/api/health"}, 405},
		{"nothing there", nil, call{method: "GET", path: "/api/nothing"}, 404},
		{"no page there", nil, call{method: "GET", path: "/nothing"}, 404},
		{"no page of a report", nil, call{method: "GET", path: "/reports/x"}, 404},
		{"no such report to delete", nil, call{method: "GET", path: "/reports/x/delete"}, 404},
		{"nothing to compare", nil, call{method: "GET", path: "/compare"}, 303},
		{"nothing that is there to compare", nil, call{method: "GET", path: "/compare?report=x&report=y"}, 404},
		{"an icon", nil, call{method: "GET", path: "/favicon.svg"}, 200},
		{"an icon by its old name", nil, call{method: "GET", path: "/favicon.ico"}, 301},
		{"the page of reports", nil, call{method: "GET", path: "/reports"}, 200},
		{"the page", nil, call{method: "GET", path: "/"}, 200},
		{"the page's head", nil, call{method: "HEAD", path: "/"}, 200},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			handler, _ := serve(t, c.err)
			got := c.call.to(handler)
			if got.Code != c.code {
				t.Errorf("%d %s", got.Code, got.Body)
			}
			if got.Code >= 400 && strings.HasPrefix(c.call.path, "/api/") && !strings.Contains(got.Body.String(), `{"error":"`) {
				t.Errorf("no reason: %s", got.Body)
			}
			if strings.Contains(got.Body.String(), "/secret/path") {
				t.Error("the inside of an error went out")
			}
		})
	}
}

func TestAllowNamesTheMethods(t *testing.T) {
	handler, _ := serve(t, nil)
	if got := (call{method: "PUT", path: "/api/reports"}).to(handler).Header().Get("Allow"); got != "GET, POST" {
		t.Errorf("%q", got)
	}
}

func TestAReportFromAddToDelete(t *testing.T) {
	handler, dir := serve(t, nil)
	made := call{method: "POST", path: "/api/reports", body: `{"image":"a:1"}`}.to(handler)
	place := made.Header().Get("Location")
	if got := (call{method: "GET", path: place}).to(handler); got.Code != 200 || got.Body.String() != made.Body.String() {
		t.Errorf("%d %s", got.Code, got.Body)
	}
	var list struct{ Reports []map[string]any }
	if err := json.Unmarshal(call{method: "GET", path: "/api/reports"}.to(handler).Body.Bytes(), &list); err != nil || len(list.Reports) != 1 {
		t.Errorf("%v %v", list, err)
	}
	if err := os.WriteFile(filepath.Join(dir, "reports", strings.Repeat("0", 32)+".json"), []byte("{"), 0o600); err != nil {
		t.Fatal(err)
	}
	if got := (call{method: "GET", path: "/api/reports"}).to(handler); got.Code != 200 {
		t.Errorf("a damaged file broke the list: %d", got.Code)
	}
	if got := (call{method: "GET", path: "/api/reports/" + strings.Repeat("0", 32)}).to(handler); got.Code != 500 {
		t.Errorf("a damaged report: %d", got.Code)
	}
	if got := (call{method: "DELETE", path: place}).to(handler); got.Code != 204 {
		t.Errorf("%d", got.Code)
	}
}

func TestWhoMayAsk(t *testing.T) {
	cases := []struct {
		name   string
		method string
		host   string
		origin string
		site   string
		code   int
	}{
		{"localhost", "GET", "localhost:8080", "", "", 200},
		{"an address", "GET", "192.0.2.7:80", "", "", 200},
		{"an IPv6 address", "GET", "[::1]:80", "", "", 200},
		{"a name that was allowed", "GET", "MY.example", "", "", 200},
		{"a name that was allowed in other letters", "GET", "typed.example:8080", "", "", 200},
		{"a name of somebody's", "GET", "evil.example:8080", "", "", 403},
		{"a name that looks like ours", "GET", "localhost.evil.example", "", "", 403},
		{"no name", "GET", "-", "", "", 403},
		{"a program that changes", "POST", "localhost:8080", "", "", 404},
		{"our own page", "POST", "localhost:8080", "http://localhost:8080", "same-origin", 404},
		{"another page", "POST", "localhost:8080", "http://evil.example", "", 403},
		{"another port", "POST", "localhost:8080", "http://localhost:9090", "", 403},
		{"another scheme", "POST", "localhost:8080", "https://localhost:8080", "", 403},
		{"a page without an origin", "POST", "localhost:8080", "null", "", 403},
		{"a browser that says cross-site", "POST", "localhost:8080", "", "cross-site", 403},
		{"a page that only reads", "GET", "localhost:8080", "http://evil.example", "cross-site", 200},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			handler, _ := serve(t, nil)
			path := map[string]string{"GET": "/api/health", "POST": "/reports/x/delete"}[c.method]
			headers := map[string]string{}
			if c.origin != "" {
				headers["Origin"] = c.origin
			}
			if c.site != "" {
				headers["Sec-Fetch-Site"] = c.site
			}
			if got := (call{method: c.method, path: path, host: c.host, headers: headers}).to(handler); got.Code != c.code {
				t.Errorf("%d %s", got.Code, got.Body)
			}
		})
	}
}

func TestThePageShowsTheDataEscapedAndWhatIsItsOwnPassesThePolicy(t *testing.T) {
	handler, _ := serve(t, nil)
	got := call{method: "GET", path: "/"}.to(handler)
	text := got.Body.String()
	if !strings.Contains(text, "a&lt;b&gt;:1") || strings.Contains(text, "a<b>") || !strings.Contains(text, "1.23 MB") {
		t.Error(text)
	}
	policy := got.Header().Get("Content-Security-Policy")
	for _, tag := range []string{"style", "script"} {
		own := regexp.MustCompile(`(?s)<` + tag + `>(.*?)</` + tag + `>`).FindStringSubmatch(text)[1]
		sum := sha256.Sum256([]byte(own))
		if !strings.Contains(policy, tag+"-src 'sha256-"+base64.StdEncoding.EncodeToString(sum[:])+"'") {
			t.Errorf("%s does not let the %s in", policy, tag)
		}
	}
	if regexp.MustCompile(`(?:src|href)="(?:https?:)?//`).MatchString(text) {
		t.Error("the page has assets from outside")
	}
	if regexp.MustCompile(` (?:style|on[a-z]+)=`).MatchString(text) {
		t.Error("the page has attributes that the policy forbids")
	}
}

// An image is reported on under a name that the form takes; one without such a name has no button.
func TestEachReportButtonSendsWhatIsTaken(t *testing.T) {
	sent := func(eng Engine) string {
		handler, _, _ := serveWith(t, eng, io.Discard)
		page := call{method: "GET", path: "/"}.to(handler).Body.String()
		return fmt.Sprint(regexp.MustCompile(`name="image" value=".*?"><button`).FindAllString(page, -1))
	}
	// The tag a<b>:1 is no reference.
	if got := sent(fakeEngine{}); !strings.Contains(got, `"sha256:1"`) || !strings.Contains(got, `"sha256:0123456789ab"`) {
		t.Error(got)
	}
	if got := sent(manyImages{number: 1, image: engine.Image{ID: "x y", Tags: []string{"A"}}}); got != "[]" {
		t.Error(got)
	}
}

func TestThePageWithoutAnEngineSaysWhy(t *testing.T) {
	handler, _ := serve(t, fmt.Errorf("%w: mount it", engine.ErrUnavailable))
	if got := (call{method: "GET", path: "/"}).to(handler); got.Code != 200 || !strings.Contains(got.Body.String(), "mount it") {
		t.Errorf("%d %s", got.Code, got.Body)
	}
}

func TestWhatTheDiskSaysIsForTheLogAlone(t *testing.T) {
	disk := errors.New("open /secret/path: input/output error")
	form := map[string]string{"Content-Type": "application/x-www-form-urlencoded"}
	id := strings.Repeat("0", 32)
	cases := []struct {
		name string
		err  error
		call call
		code int
	}{
		{"the API", disk, call{method: "GET", path: "/api/images"}, 500},
		{"the page", disk, call{method: "GET", path: "/"}, 200},
		{"the form that adds", disk, call{method: "POST", path: "/reports", body: "image=a:1", headers: form}, 500},
		{"the form that deletes", nil, call{method: "POST", path: "/reports/" + id + "/delete"}, 500},
		{"the page of a report", nil, call{method: "GET", path: "/reports/" + id}, 500},
		{"the API's list", nil, call{method: "GET", path: "/api/reports"}, 500},
		{"the page's list", nil, call{method: "GET", path: "/reports"}, 200},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			var log bytes.Buffer
			handler, store, _ := serveWith(t, fakeEngine{c.err}, &log)
			if c.err == nil {
				_ = store.Close() // A disk that does not answer any more.
			}
			got := c.call.to(handler)
			text := got.Body.String()
			if got.Code != c.code || !strings.Contains(text, "internal error, see the log") {
				t.Errorf("%d %s", got.Code, text)
			}
			if strings.Contains(text, "/secret/path") || strings.Contains(text, id) {
				t.Errorf("the inside of an error went out: %s", text)
			}
			if !strings.Contains(log.String(), "request failed") {
				t.Errorf("the log does not say why: %s", &log)
			}
		})
	}
}

func TestTheFormsOfThePage(t *testing.T) {
	handler, _ := serve(t, nil)
	form := map[string]string{"Content-Type": "application/x-www-form-urlencoded"}
	post := func(path, image string) *httptest.ResponseRecorder {
		return call{method: "POST", path: path, body: url.Values{"image": {image}}.Encode(), headers: form}.to(handler)
	}
	for image, code := range map[string]int{"a:1": 303, "../x": 400, "absent": 404, strings.Repeat("a", maxBody): 413} {
		if got := post("/reports", image); got.Code != code {
			t.Errorf("%.20s: %d", image, got.Code)
		}
	}
	page := call{method: "GET", path: "/reports"}.to(handler).Body.String()
	action := regexp.MustCompile(`/reports/[0-9a-f]{32}/delete`).FindString(page)
	if got := post(action, ""); got.Code != 303 {
		t.Errorf("delete: %d", got.Code)
	}
	if got := post(action, ""); got.Code != 404 {
		t.Errorf("delete again: %d", got.Code)
	}
}

// manyImages is an engine with a number of images, each of which has the same labels.
type manyImages struct {
	number int
	image  engine.Image
	err    error
}

func (m manyImages) Images(_ context.Context, each func(engine.Image) error) error {
	for range m.number {
		if err := each(m.image); err != nil {
			return err
		}
	}
	return m.err
}

func (m manyImages) Containers(context.Context, func(engine.Container) error) error { return nil }

func (m manyImages) Inspect(context.Context, string) (engine.Details, error) {
	return engine.Details{Labels: m.image.Labels}, m.err
}

func TestATimeThatIsUnknown(t *testing.T) {
	handler, _ := serve(t, nil)
	if got := (call{method: "GET", path: "/api/images"}).to(handler).Body.String(); !strings.Contains(got, `"created":null`) {
		t.Error(got)
	}
	if got := (call{method: "GET", path: "/"}).to(handler).Body.String(); !strings.Contains(got, ">unknown</td>") {
		t.Error(got)
	}
}

// What has no JSON must not be an answer of 200 without a body.
func TestWhatHasNoJSONIsAnErrorOfTheServer(t *testing.T) {
	never := time.Date(10_000, 1, 1, 0, 0, 0, 0, time.UTC)
	wrong := engine.Image{ID: "x", Created: &never, Labels: json.RawMessage("{")}
	for name, c := range map[string]call{
		"a list": {method: "GET", path: "/api/images"}, "a report": {method: "POST", path: "/api/reports", body: `{"image":"a"}`},
	} {
		var log bytes.Buffer
		handler, _, _ := serveWith(t, manyImages{number: 2, image: wrong}, &log)
		got := c.to(handler)
		if got.Code != 500 || got.Body.String() != `{"error":"internal error, see the log"}`+"\n" || !strings.Contains(log.String(), "request failed") {
			t.Errorf("%s: %d %s; log %s", name, got.Code, got.Body, &log)
		}
	}
	var log bytes.Buffer
	s := &server{log: slog.New(slog.NewTextHandler(&log, nil))}
	recorder := httptest.NewRecorder()
	s.answer(recorder, 200, never)
	if recorder.Code != 500 || log.Len() == 0 {
		t.Errorf("%d %s", recorder.Code, &log)
	}
}

// An engine that fails in the middle of its list has no list.
func TestAListThatBreaksOffIsNotShown(t *testing.T) {
	handler, _ := serve(t, engine.ErrUnavailable)
	if got := (call{method: "GET", path: "/api/images"}).to(handler); got.Code != 503 || strings.Contains(got.Body.String(), "sha256") {
		t.Errorf("%d %s", got.Code, got.Body)
	}
	if got := (call{method: "GET", path: "/"}).to(handler); strings.Contains(got.Body.String(), "1.23 MB") {
		t.Errorf("%s", got.Body)
	}
}

func TestAnAnswerThatIsTooLargeIsNone(t *testing.T) {
	large := engine.Image{ID: "x", Labels: json.RawMessage(`"` + strings.Repeat("x", 1<<20) + `"`), Tags: []string{strings.Repeat("t", 1<<20)}}
	handler, _, _ := serveWith(t, manyImages{number: 40, image: large}, io.Discard)
	if got := (call{method: "GET", path: "/api/images"}).to(handler); got.Code != 502 || got.Body.Len() > 1000 || got.Header().Get("Content-Type") != "application/json" {
		t.Errorf("%d, %d bytes", got.Code, got.Body.Len())
	}
	// The page holds what it can.
	if got := (call{method: "GET", path: "/"}).to(handler); got.Code != 200 || !strings.Contains(got.Body.String(), "25 images more can't be shown") {
		t.Errorf("%d, %d bytes", got.Code, got.Body.Len())
	}
	large.Labels = json.RawMessage(`"` + strings.Repeat("x", 5<<20) + `"`)
	handler, _, _ = serveWith(t, manyImages{image: large}, io.Discard)
	if got := (call{method: "POST", path: "/api/reports", body: `{"image":"a"}`}).to(handler); got.Code != 422 {
		t.Errorf("a report: %d", got.Code)
	}
}

func TestWhatIsSkippedIsInTheLog(t *testing.T) {
	var log bytes.Buffer
	handler, dir := serveLogging(t, nil, &log)
	for i := range 23 {
		if err := os.Mkdir(filepath.Join(dir, "reports", fmt.Sprintf("%032x.json", i)), 0o700); err != nil {
			t.Fatal(err)
		}
	}
	if got := (call{method: "GET", path: "/api/reports"}).to(handler); strings.TrimSpace(got.Body.String()) != `{"reports":[]}` {
		t.Errorf("%s", got.Body)
	}
	if lines := strings.Count(log.String(), "not a regular file"); lines != 20 || !strings.Contains(log.String(), "number=3") {
		t.Errorf("%s", &log)
	}
}
