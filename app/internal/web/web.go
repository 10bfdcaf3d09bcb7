// Package web serves the API and pages over the same data.
package web

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"log/slog"
	"mime"
	"net/http"
	"slices"
	"sync/atomic"
	"time"

	"github.com/smiller333/dockerutilities/app/internal/engine"
	"github.com/smiller333/dockerutilities/app/internal/report"
)

// Info says what was built from what.
type Info struct {
	Version   string `json:"version"`
	Revision  string `json:"revision"`
	Created   string `json:"created"`
	GoVersion string `json:"go_version"`
	Platform  string `json:"platform"`
}

// Engine is what the server needs of a Docker engine.
type Engine interface {
	Images(ctx context.Context, each func(engine.Image) error) error
	Containers(ctx context.Context, each func(engine.Container) error) error
	Inspect(ctx context.Context, reference string) (engine.Details, error)
}

type server struct {
	info    Info
	engine  Engine
	store   *report.Store
	log     *slog.Logger
	unsent  atomic.Int64            // bytes of answers that are not sent yet
	listing atomic.Pointer[listing] // what the page of images showed last
}

// New returns the whole service. allowed are host names beside localhost and plain addresses.
func New(info Info, eng Engine, store *report.Store, allowed []string, log *slog.Logger) http.Handler {
	s := &server{info: info, engine: eng, store: store, log: log}
	mux := http.NewServeMux()
	for path, methods := range s.routes() {
		allow := ""
		for method, handler := range methods {
			mux.HandleFunc(method+" "+path, handler)
			allow = joined(allow, method)
		}
		mux.HandleFunc(path, func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Allow", allow)
			fail(w, http.StatusMethodNotAllowed, "this takes "+allow)
		})
	}
	mux.HandleFunc("/", s.bounded(newGate(engineRequests), s.notFound))
	mux.HandleFunc("/api/", func(w http.ResponseWriter, _ *http.Request) {
		fail(w, http.StatusNotFound, "there is nothing here; see /api/openapi.json")
	})
	return guard(allowed, mux)
}

// routes are the handlers by path and method.
func (s *server) routes() map[string]map[string]http.HandlerFunc {
	asking, keeping := newGate(engineRequests), newGate(diskRequests)
	return map[string]map[string]http.HandlerFunc{
		"/{$}":                 {"GET": s.bounded(asking, s.page)},
		"/reports":             {"GET": s.bounded(keeping, s.pageReports), "POST": s.bounded(asking, s.pageAdd)},
		"/reports/{id}":        {"GET": s.bounded(keeping, s.pageReport)},
		"/reports/{id}/delete": {"GET": s.bounded(keeping, s.pageAskDelete), "POST": s.bounded(keeping, s.pageDelete)},
		"/compare":             {"GET": s.bounded(keeping, s.pageCompare)},
		"/favicon.svg":         {"GET": asset("image/svg+xml", favicon)},
		"/favicon.ico":         {"GET": http.RedirectHandler("/favicon.svg", http.StatusMovedPermanently).ServeHTTP},
		"/api/health":          {"GET": s.health}, // It never waits.
		"/api/openapi.json":    {"GET": asset("application/json", openAPI)},
		"/api/images":          {"GET": s.bounded(asking, s.listImages)},
		"/api/reports":         {"GET": s.bounded(keeping, s.list), "POST": s.bounded(asking, s.add)},
		"/api/reports/{id}":    {"GET": s.bounded(keeping, s.get), "DELETE": s.bounded(keeping, s.remove)},
	}
}

func joined(list, word string) string {
	switch {
	case list == "":
		return word
	case list < word:
		return list + ", " + word
	default:
		return word + ", " + list
	}
}

// fail answers with the reason why a request is refused.
func fail(w http.ResponseWriter, status int, reason string) {
	text, _ := encode(map[string]string{"error": reason}) // A map of strings always has JSON.
	send(w, status, text)
}

func encode(body any) ([]byte, error) {
	var text bytes.Buffer
	encoder := json.NewEncoder(&text)
	encoder.SetEscapeHTML(false) // No browser takes it for HTML: see guard.
	err := encoder.Encode(body)
	return text.Bytes(), err
}

func send(w http.ResponseWriter, status int, text []byte) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	_, _ = w.Write(text) // It fails where the client is gone.
}

// answer encodes before it writes the header: what has no JSON is an error that the client sees.
func (s *server) answer(w http.ResponseWriter, status int, body any) {
	text, err := encode(body)
	if err != nil {
		s.refuse(w, err)
		return
	}
	send(w, status, text)
}

// status returns what an error means over HTTP.
func status(err error) int {
	switch {
	case errors.Is(err, engine.ErrUnavailable):
		return http.StatusServiceUnavailable
	case errors.Is(err, engine.ErrUnexpected):
		return http.StatusBadGateway
	case errors.Is(err, engine.ErrNotFound), errors.Is(err, report.ErrNotFound):
		return http.StatusNotFound
	case errors.Is(err, report.ErrTooLarge):
		return http.StatusUnprocessableEntity
	}
	return http.StatusInternalServerError
}

// explain returns what a client is told of an error. What the disk says is for the log: it may hold
// paths.
func (s *server) explain(err error) (int, string) {
	code := status(err)
	if code == http.StatusInternalServerError {
		s.log.Error("request failed", "error", err)
		return code, "internal error, see the log"
	}
	return code, err.Error()
}

func (s *server) refuse(w http.ResponseWriter, err error) {
	code, reason := s.explain(err)
	fail(w, code, reason)
}

func (s *server) health(w http.ResponseWriter, _ *http.Request) {
	s.answer(w, http.StatusOK, struct {
		Status string `json:"status"`
		Info
	}{"healthy", s.info})
}

// listedImage is an image with the containers that use it, which are null where they are unknown.
type listedImage struct {
	engine.Image
	Containers []engine.Container `json:"containers"`
}

// listImages holds each image as it is sent, once, until all of them can be put in order.
func (s *server) listImages(w *reply, r *http.Request) {
	type listed struct {
		image engine.Image // Without what is only shown.
		text  []byte
	}
	var all []listed
	size := int64(0)
	using, unknown := s.containers(r.Context())
	err := s.engine.Images(r.Context(), func(image engine.Image) error {
		shown := listedImage{image, using[image.ID]}
		if shown.Containers == nil && unknown == nil {
			shown.Containers = []engine.Container{}
		}
		text, err := encode(shown)
		if size += int64(len(text)); err == nil && size > maxAnswer {
			err = errAnswerSize
		}
		first := slices.Clone(image.Tags[:min(1, len(image.Tags))])
		all = append(all, listed{engine.Image{ID: image.ID, Tags: first, Created: image.Created}, bytes.Clone(bytes.TrimSpace(text))})
		return err
	})
	if err != nil {
		s.refuse(w, err)
		return
	}
	slices.SortFunc(all, func(a, b listed) int { return byCreated(a.image, b.image) })
	w.Header().Set("Content-Type", "application/json")
	before := `{"images":[`
	for _, one := range all {
		w.adopt([]byte(before))
		w.adopt(one.text)
		before = ","
	}
	if len(all) == 0 {
		w.adopt([]byte(before))
	}
	w.adopt([]byte("]}\n"))
}

// reports lists the reports; what is left out is for the log.
func (s *server) reports(ctx context.Context) (report.Listing, error) {
	found, err := s.store.List(ctx)
	for _, reason := range found.Skipped {
		s.log.Warn("a report can't be read", "error", reason)
	}
	if found.Unnamed > 0 {
		s.log.Warn("more reports can't be read", "number", found.Unnamed)
	}
	return found, err
}

func (s *server) list(w *reply, r *http.Request) {
	found, err := s.reports(r.Context())
	if err != nil {
		s.refuse(w, err)
		return
	}
	s.answer(w, http.StatusOK, struct {
		Reports []report.Summary `json:"reports"`
		Older   int              `json:"older,omitempty"`
	}{found.Reports, found.Older})
}

// make inspects an image and keeps the report.
func (s *server) make(ctx context.Context, image string) (report.Report, error) {
	details, err := s.engine.Inspect(ctx, image)
	if err != nil {
		return report.Report{}, err
	}
	return s.store.Add(image, details, time.Now())
}

func (s *server) add(w *reply, r *http.Request) {
	kind, _, _ := mime.ParseMediaType(r.Header.Get("Content-Type"))
	if kind != "application/json" {
		fail(w, http.StatusUnsupportedMediaType, "send application/json")
		return
	}
	var wanted struct{ Image string }
	decoder := json.NewDecoder(r.Body)
	decoder.DisallowUnknownFields()
	if err := decoder.Decode(&wanted); err != nil {
		fail(w, http.StatusBadRequest, `send {"image": "name:tag"}`)
		return
	}
	if _, err := decoder.Token(); !errors.Is(err, io.EOF) {
		fail(w, http.StatusBadRequest, "there is more than one JSON value")
		return
	}
	if !engine.ValidReference(wanted.Image) {
		fail(w, http.StatusBadRequest, "this is not a reference to an image")
		return
	}
	made, err := s.make(r.Context(), wanted.Image)
	if err != nil {
		s.refuse(w, err)
		return
	}
	w.Header().Set("Location", "/api/reports/"+made.ID)
	s.answer(w, http.StatusCreated, made)
}

func (s *server) get(w *reply, r *http.Request) {
	found, err := s.store.Get(r.PathValue("id"))
	if err != nil {
		s.refuse(w, err)
		return
	}
	s.answer(w, http.StatusOK, found)
}

func (s *server) remove(w *reply, r *http.Request) {
	if err := s.store.Delete(r.PathValue("id")); err != nil {
		s.refuse(w, err)
		return
	}
	w.WriteHeader(http.StatusNoContent)
}
