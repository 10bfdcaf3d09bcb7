package web

import (
	"crypto/sha256"
	"embed"
	"encoding/base64"
	"html/template"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/smiller333/dockerutilities/app/internal/engine"
	"github.com/smiller333/dockerutilities/app/internal/report"
)

var (
	//go:embed pages
	files embed.FS

	style   = file("style.css")
	script  = file("script.js")
	favicon = file("favicon.svg")
	openAPI = file("openapi.json")

	pages = template.Must(template.New("").Funcs(template.FuncMap{
		"age":      age,
		"bytes":    func(bytes *int64) string { return size(*bytes) },
		"count":    count,
		"day":      day,
		"few":      func(all []engine.Container) []engine.Container { return all[:min(len(all), shownContainers)] },
		"first":    func(all []string) []string { return all[:min(len(all), shownTags)] },
		"identity": identity,
		"lines":    func(text string) []string { return strings.Split(text, "\n") },
		"more":     func(all []string) []string { return all[min(len(all), shownTags):] },
		"rest":     func(all []engine.Container) int { return max(0, len(all)-shownContainers) },
		"short":    short,
		"size":     size,
		"stamp":    stamp,
		"visible":  visible,
		"when":     func(at, now time.Time) moment { return moment{at, now} },
	}).ParseFS(files, "pages/*.html"))
)

// How many tags and containers of an image are in sight.
const shownTags, shownContainers = 3, 3

// identity is what an image is known by: with containerd's store the ID is the digest that a
// registry has.
func identity(r row) []field {
	if len(r.Digests) == 0 {
		return []field{{"ID", r.ID}}
	}
	_, digest, _ := strings.Cut(r.Digests[0], "@")
	if digest == r.ID {
		return []field{{"ID and digest", r.ID}}
	}
	return []field{{"ID", r.ID}, {"digest", digest}}
}

// moment is a time, and the time that its age is counted to.
type moment struct{ At, Now time.Time }

func file(name string) string {
	text, err := files.ReadFile("pages/" + name)
	if err != nil {
		panic(err) // It is part of the program.
	}
	return string(text)
}

// hash lets a text of our own through the content security policy, and no other.
func hash(text string) string {
	sum := sha256.Sum256([]byte(text))
	return "sha256-" + base64.StdEncoding.EncodeToString(sum[:])
}

// frame is what every page has. Problem is what went wrong with what the user asked for, and Notice
// what was done.
type frame struct {
	Title, Here     string
	Info            Info
	Style           template.CSS
	Script          template.JS
	Now             time.Time
	Problem, Notice string
}

func (s *server) frame(title, here string) frame {
	return frame{
		Title: title, Here: here, Info: s.info, Now: time.Now(),
		Style: template.CSS(style), Script: template.JS(script), //nolint:gosec // our own files
	}
}

// show answers with a page.
func (s *server) show(w *reply, status int, name string, data any) {
	w.Header().Set("Content-Type", "text/html; charset=utf-8")
	w.WriteHeader(status)
	if err := pages.ExecuteTemplate(w, name, data); err != nil {
		w.reset()
		s.refuse(w, err)
	}
}

type imagesPage struct {
	frame
	result
	Query        query
	Shows, Sorts []choice
	Read         bool // Whether the engine has answered.
}

func (s *server) page(w *reply, r *http.Request) { s.images(w, r, http.StatusOK, "") }

// images shows the page of images. The page's script searches the listing that the page was made from;
// any other request asks the engine again.
func (s *server) images(w *reply, r *http.Request, status int, problem string) {
	data := imagesPage{frame: s.frame("Images", "images"), Query: queryOf(r.URL.Query()), Shows: shows, Sorts: sorts}
	data.Problem = problem
	found := s.listing.Load()
	var err error
	if found == nil || found.id != r.URL.Query().Get("list") || time.Since(found.read) > listingTime {
		if found, err = s.readListing(r.Context()); err == nil {
			s.listing.Store(found)
		}
	}
	if err == nil {
		data.Read, data.result = true, found.answer(data.Query)
	} else if problem == "" {
		_, data.Problem = s.explain(err)
	}
	s.show(w, status, "images", data)
}

type reportsPage struct {
	frame
	report.Listing
}

var notices = map[string]string{
	"deleted": "The report was deleted.",
	"choose":  "Choose two reports to compare.",
}

func (s *server) pageReports(w *reply, r *http.Request) {
	data := reportsPage{frame: s.frame("Reports", "reports")}
	data.Notice = notices[r.URL.Query().Get("done")]
	var err error
	if data.Listing, err = s.reports(r.Context()); err != nil {
		_, data.Problem = s.explain(err)
	}
	s.show(w, http.StatusOK, "reports", data)
}

type reportPage struct {
	frame
	Report              report.Report
	Overview, Sizes     []field
	Environment, Labels []field
	Steps               []step
	Largest             []bar
	Layers              int
}

// bar is a layer with its part of the largest one, in percent.
type bar struct {
	step
	Percent int64
}

func (s *server) pageReport(w *reply, r *http.Request) {
	found, err := s.store.Get(r.PathValue("id"))
	if err != nil {
		s.sorry(w, err)
		return
	}
	details := found.Details
	data := reportPage{
		frame: s.frame(found.Image, "report"), Report: found, Overview: overview(details), Sizes: sizeFields(details),
		Environment: environment(details), Labels: labels(details), Steps: stepsOf(details),
	}
	if r.URL.Query().Get("done") == "made" {
		data.Notice = "The report was saved."
	}
	data.Layers = len(slices.DeleteFunc(slices.Clone(data.Steps), func(one step) bool { return !one.Layer }))
	for _, one := range largest(data.Steps, 5) {
		data.Largest = append(data.Largest, bar{one, max(1, *one.Size*100 / *largest(data.Steps, 1)[0].Size)})
	}
	s.show(w, http.StatusOK, "report", data)
}

func (s *server) pageCompare(w *reply, r *http.Request) {
	ids := r.URL.Query()["report"]
	if len(ids) != 2 {
		http.Redirect(w, r, "/reports?done=choose", http.StatusSeeOther)
		return
	}
	var both [2]report.Report
	for i, id := range ids {
		var err error
		if both[i], err = s.store.Get(id); err != nil {
			s.sorry(w, err)
			return
		}
	}
	slices.SortStableFunc(both[:], func(a, b report.Report) int { return a.Made.Compare(b.Made) })
	s.show(w, http.StatusOK, "compare", struct {
		frame
		comparison
	}{s.frame("Two reports compared", "compare"), compare(both[0], both[1])})
}

// messagePage says one thing, and may ask whether to delete a report.
type messagePage struct {
	frame
	Delete *report.Report
}

// sorry shows what went wrong.
func (s *server) sorry(w *reply, err error) {
	code, reason := s.explain(err)
	data := messagePage{frame: s.frame("Something went wrong", "")}
	data.Problem = reason
	s.show(w, code, "message", data)
}

func (s *server) pageAdd(w *reply, r *http.Request) {
	image := r.PostFormValue("image")
	if !engine.ValidReference(image) {
		s.images(w, r, http.StatusBadRequest, "this is not a reference to an image")
		return
	}
	made, err := s.make(r.Context(), image)
	if err != nil {
		s.sorry(w, err)
		return
	}
	http.Redirect(w, r, "/reports/"+made.ID+"?done=made", http.StatusSeeOther)
}

func (s *server) pageAskDelete(w *reply, r *http.Request) {
	found, err := s.store.Get(r.PathValue("id"))
	if err != nil {
		s.sorry(w, err)
		return
	}
	s.show(w, http.StatusOK, "message", messagePage{s.frame("Delete this report?", ""), &found})
}

func (s *server) pageDelete(w *reply, r *http.Request) {
	if err := s.store.Delete(r.PathValue("id")); err != nil {
		s.sorry(w, err)
		return
	}
	http.Redirect(w, r, "/reports?done=deleted", http.StatusSeeOther)
}

func (s *server) notFound(w *reply, _ *http.Request) {
	data := messagePage{frame: s.frame("There is nothing here", "")}
	data.Problem = "No page has this address."
	s.show(w, http.StatusNotFound, "message", data)
}

// asset serves one of our own files.
func asset(kind, text string) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", kind)
		_, _ = w.Write([]byte(text)) // It fails where the client is gone.
	}
}
