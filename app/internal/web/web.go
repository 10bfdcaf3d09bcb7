// Package web serves the API and a small page over the same data.
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
	Inspect(ctx context.Context, reference string) (engine.Details, error)
}

type server struct {
	info   Info
	engine Engine
	store  *report.Store
	log    *slog.Logger
	unsent atomic.Int64 // bytes of answers that are not sent yet
}

// New returns the whole service. allowed are host names beside localhost and plain addresses.
func New(info Info, eng Engine, store *report.Store, allowed []string, log *slog.Logger) http.Handler {
	s := &server{info: info, engine: eng, store: store, log: log}
	mux := http.NewServeMux()
	asking, keeping := newGate(engineRequests), newGate(diskRequests)
	routes := map[string]map[string]http.HandlerFunc{
		"/{$}":                 {"GET": s.bounded(asking, s.page)},
		"/reports":             {"POST": s.bounded(asking, s.pageAdd)},
		"/reports/{id}/delete": {"POST": s.bounded(asking, s.pageDelete)}, // It may show the page.
		"/api/health":          {"GET": s.health},                         // It never waits.
		"/api/images":          {"GET": s.bounded(asking, s.images)},
		"/api/reports":         {"GET": s.bounded(keeping, s.list), "POST": s.bounded(asking, s.add)},
		"/api/reports/{id}":    {"GET": s.bounded(keeping, s.get), "DELETE": s.bounded(keeping, s.remove)},
	}
	for path, methods := range routes {
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
	mux.HandleFunc("/", func(w http.ResponseWriter, _ *http.Request) {
		fail(w, http.StatusNotFound, "there is nothing here")
	})
	return guard(allowed, styleHash(), mux)
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

// images writes one image after the other, as the engine sends them.
func (s *server) images(w *reply, r *http.Request) {
	w.Header().Set("Content-Type", "application/json")
	_, err := io.WriteString(w, `{"images":[`)
	comma := ""
	if err == nil {
		err = s.engine.Images(r.Context(), func(image engine.Image) error {
			text, err := encode(image)
			if err == nil {
				_, err = io.WriteString(w, comma)
			}
			if err == nil {
				_, err = w.Write(bytes.TrimSpace(text))
			}
			comma = ","
			return err
		})
	}
	if err == nil {
		_, err = io.WriteString(w, "]}\n")
	}
	if err != nil {
		w.reset()
		s.refuse(w, err)
	}
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
