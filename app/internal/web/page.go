package web

import (
	"crypto/sha256"
	_ "embed"
	"encoding/base64"
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

// maxShown bounds the images on the page; the API has all of them.
const maxShown = 1000

type pageData struct {
	Info       Info
	Style      template.CSS
	Images     []engine.Image
	MoreImages int
	Problem    string
	report.Listing
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

func (s *server) page(w *reply, r *http.Request) { s.render(w, r, http.StatusOK, "") }

// render shows the page; problem is what went wrong with what the user asked for.
func (s *server) render(w *reply, r *http.Request, status int, problem string) {
	data := pageData{Info: s.info, Style: template.CSS(styleText)} //nolint:gosec // our own file
	failed := s.engine.Images(r.Context(), func(image engine.Image) error {
		if len(data.Images) == maxShown {
			data.MoreImages++
			return nil
		}
		image.Labels = nil // They are not shown.
		data.Images = append(data.Images, image)
		return nil
	})
	if failed != nil {
		data.Images, data.MoreImages = nil, 0
	}
	var err error
	if data.Listing, err = s.reports(r.Context()); failed == nil {
		failed = err
	}
	if failed != nil && problem == "" {
		_, problem = s.explain(failed)
	}
	data.Problem = problem
	w.Header().Set("Content-Type", "text/html; charset=utf-8")
	w.WriteHeader(status)
	if err := pageTemplate.Execute(w, data); err != nil {
		w.reset()
		s.refuse(w, err)
	}
}

// sorry shows the page with what went wrong.
func (s *server) sorry(w *reply, r *http.Request, err error) {
	code, reason := s.explain(err)
	s.render(w, r, code, reason)
}

func (s *server) pageAdd(w *reply, r *http.Request) {
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

func (s *server) pageDelete(w *reply, r *http.Request) {
	if err := s.store.Delete(r.PathValue("id")); err != nil {
		s.sorry(w, r, err)
		return
	}
	http.Redirect(w, r, "/", http.StatusSeeOther)
}
