// Package web serves the API and a small page over the same data.
package web

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"log/slog"
	"mime"
	"net/http"
	"time"

	"github.com/smiller333/dockerutilities/app/internal/engine"
	"github.com/smiller333/dockerutilities/app/internal/report"
)

// maxBody is far more than a reference can be long.
const maxBody = 64 << 10

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
	Images(ctx context.Context) ([]engine.Image, error)
	Inspect(ctx context.Context, reference string) (engine.Details, error)
}

type server struct {
	info   Info
	engine Engine
	store  *report.Store
	log    *slog.Logger
}

// New returns the whole service. allowed are host names beside localhost and plain addresses.
func New(info Info, eng Engine, store *report.Store, allowed []string, log *slog.Logger) http.Handler {
	s := &server{info: info, engine: eng, store: store, log: log}
	mux := http.NewServeMux()
	routes := map[string]map[string]http.HandlerFunc{
		"/{$}":                 {"GET": s.page},
		"/reports":             {"POST": s.pageAdd},
		"/reports/{id}/delete": {"POST": s.pageDelete},
		"/api/health":          {"GET": s.health},
		"/api/images":          {"GET": s.images},
		"/api/reports":         {"GET": s.list, "POST": s.add},
		"/api/reports/{id}":    {"GET": s.get, "DELETE": s.remove},
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

func answer(w http.ResponseWriter, status int, body any) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(body) // The client is gone; there is nobody to tell.
}

func fail(w http.ResponseWriter, status int, reason string) {
	answer(w, status, map[string]string{"error": reason})
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
	answer(w, http.StatusOK, struct {
		Status string `json:"status"`
		Info
	}{"healthy", s.info})
}

func (s *server) images(w http.ResponseWriter, r *http.Request) {
	images, err := s.engine.Images(r.Context())
	if err != nil {
		s.refuse(w, err)
		return
	}
	answer(w, http.StatusOK, map[string]any{"images": images})
}

// summary is a report without its details.
type summary struct {
	ID    string    `json:"id"`
	Image string    `json:"image"`
	Made  time.Time `json:"made"`
	Size  int64     `json:"size"`
}

func (s *server) reports() []report.Report {
	found, damaged := s.store.List()
	for _, err := range damaged {
		s.log.Warn("a report can't be read", "error", err)
	}
	return found
}

func (s *server) list(w http.ResponseWriter, _ *http.Request) {
	rows := []summary{}
	for _, one := range s.reports() {
		rows = append(rows, summary{ID: one.ID, Image: one.Image, Made: one.Made, Size: one.Details.Size})
	}
	answer(w, http.StatusOK, map[string]any{"reports": rows})
}

// make inspects an image and keeps the report.
func (s *server) make(ctx context.Context, image string) (report.Report, error) {
	details, err := s.engine.Inspect(ctx, image)
	if err != nil {
		return report.Report{}, err
	}
	return s.store.Add(image, details, time.Now())
}

func (s *server) add(w http.ResponseWriter, r *http.Request) {
	kind, _, _ := mime.ParseMediaType(r.Header.Get("Content-Type"))
	if kind != "application/json" {
		fail(w, http.StatusUnsupportedMediaType, "send application/json")
		return
	}
	var wanted struct{ Image string }
	decoder := json.NewDecoder(http.MaxBytesReader(w, r.Body, maxBody))
	decoder.DisallowUnknownFields()
	if err := decoder.Decode(&wanted); err != nil {
		var tooLarge *http.MaxBytesError
		if errors.As(err, &tooLarge) {
			fail(w, http.StatusRequestEntityTooLarge, "the request is too large")
			return
		}
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
	answer(w, http.StatusCreated, made)
}

func (s *server) get(w http.ResponseWriter, r *http.Request) {
	found, err := s.store.Get(r.PathValue("id"))
	if err != nil {
		s.refuse(w, err)
		return
	}
	answer(w, http.StatusOK, found)
}

func (s *server) remove(w http.ResponseWriter, r *http.Request) {
	if err := s.store.Delete(r.PathValue("id")); err != nil {
		s.refuse(w, err)
		return
	}
	w.WriteHeader(http.StatusNoContent)
}
