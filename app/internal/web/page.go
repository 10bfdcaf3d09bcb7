package web

import (
	"bytes"
	"crypto/sha256"
	_ "embed"
	"encoding/base64"
	"errors"
	"fmt"
	"html/template"
	"net/http"
	"time"

	"github.com/smiller333/dockerutilities/app/internal/engine"
	"github.com/smiller333/dockerutilities/app/internal/report"
)

var (
	//go:embed page.html
	pageText string
	//go:embed page.css
	styleText string

	pageTemplate = template.Must(template.New("page").Funcs(template.FuncMap{
		"size": size,
		"day":  func(t time.Time) string { return t.Format("2006-01-02 15:04") },
	}).Parse(pageText))
)

type pageData struct {
	Info    Info
	Style   template.CSS
	Images  []engine.Image
	Problem string
	Reports []report.Report
}

// size returns bytes as docker prints them, in powers of 1000.
func size(bytes int64) string {
	amount := float64(bytes)
	for _, unit := range []string{"B", "kB", "MB"} {
		if amount < 1000 {
			return fmt.Sprintf("%.3g %s", amount, unit)
		}
		amount /= 1000
	}
	return fmt.Sprintf("%.3g GB", amount)
}

// styleHash lets the page's own style through the content security policy, and no other.
func styleHash() string {
	sum := sha256.Sum256([]byte(styleText))
	return "sha256-" + base64.StdEncoding.EncodeToString(sum[:])
}

func (s *server) page(w http.ResponseWriter, r *http.Request) { s.render(w, r, http.StatusOK, "") }

// render shows the page; problem is what went wrong with what the user asked for.
func (s *server) render(w http.ResponseWriter, r *http.Request, status int, problem string) {
	images, err := s.engine.Images(r.Context())
	if err != nil && problem == "" {
		_, problem = s.explain(err)
	}
	data := pageData{
		Info: s.info, Style: template.CSS(styleText), Images: images, //nolint:gosec // our own file
		Problem: problem, Reports: s.reports(),
	}
	var body bytes.Buffer
	if err := pageTemplate.Execute(&body, data); err != nil {
		s.refuse(w, err)
		return
	}
	w.Header().Set("Content-Type", "text/html; charset=utf-8")
	w.WriteHeader(status)
	_, _ = body.WriteTo(w) // The client is gone; there is nobody to tell.
}

// sorry shows the page with what went wrong.
func (s *server) sorry(w http.ResponseWriter, r *http.Request, err error) {
	code, reason := s.explain(err)
	s.render(w, r, code, reason)
}

func (s *server) pageAdd(w http.ResponseWriter, r *http.Request) {
	r.Body = http.MaxBytesReader(w, r.Body, maxBody)
	var tooLarge *http.MaxBytesError
	if err := r.ParseForm(); errors.As(err, &tooLarge) {
		s.render(w, r, http.StatusRequestEntityTooLarge, "the request is too large")
		return
	}
	image := r.PostFormValue("image")
	if !engine.ValidReference(image) {
		s.render(w, r, http.StatusBadRequest, "this is not a reference to an image")
		return
	}
	if _, err := s.make(r.Context(), image); err != nil {
		s.sorry(w, r, err)
		return
	}
	http.Redirect(w, r, "/", http.StatusSeeOther)
}

func (s *server) pageDelete(w http.ResponseWriter, r *http.Request) {
	if err := s.store.Delete(r.PathValue("id")); err != nil {
		s.sorry(w, r, err)
		return
	}
	http.Redirect(w, r, "/", http.StatusSeeOther)
}
