package web

import (
	"encoding/json"
	"fmt"
	"io"
	"regexp"
	"strings"
	"testing"

	"github.com/smiller333/dockerutilities/app/internal/engine"
	"github.com/smiller333/dockerutilities/app/internal/report"
)

func before() engine.Details {
	return engine.Details{
		ID: "sha256:1", Tags: []string{"a:1"}, Size: 100, Created: "2026-01-02T03:04:05.678+01:00", OS: "linux", Architecture: "amd64",
		Labels: json.RawMessage(`{"same":"1","gone":"2","new value":"3","odd":[4]}`),
		Config: &engine.Config{Env: []string{"A=1", "B=2"}, Entrypoint: []string{"/bin/x", "two words"}},
		Layers: []string{"l1", "l2"}, History: history(made("ADD base /", 60), made("COPY old /", 40)),
	}
}

func after() engine.Details {
	return engine.Details{
		ID: "sha256:2", Tags: []string{"a:1"}, Size: 150, Created: "unknown", Platforms: []string{"linux/amd64", "linux/arm64"}, OS: "linux", Architecture: "amd64", User: "1001",
		Labels: json.RawMessage(`{"same":"1","new value":"4","added":"5","odd":[4]}`),
		Config: &engine.Config{Env: []string{"A=1", "C=3"}, Entrypoint: []string{"/bin/x", "two words"}},
		Layers: []string{"l1", "l3"}, History: history(made("ADD base /", 60), made("COPY new /", 90)),
	}
}

func TestWhatChangedIsWhatDiffers(t *testing.T) {
	got := compare(report.Report{Details: before()}, report.Report{Details: after()})
	said := ""
	for _, part := range [][]change{got.Image, got.Environment, got.Labels} {
		for _, one := range part {
			said += fmt.Sprintf("%s:%s>%s%t%t ", one.Name, one.Before, one.After, one.Added, one.Removed)
		}
	}
	want := "ID:sha256:1>sha256:2falsefalse Created:2026-01-02 02:04 UTC>unknownfalsefalse User:root, as no user is set>1001falsefalse Size:100 B>150 Bfalsefalse " +
		"Platforms here:>linux/amd64, linux/arm64truefalse " +
		"B:2>falsetrue C:>3truefalse gone:2>falsetrue new value:3>4falsefalse added:>5truefalse "
	if said != want {
		t.Errorf("%s\nnot\n%s", said, want)
	}
	if len(got.Removed) != 1 || got.Removed[0].Made != "COPY old /" || len(got.Added) != 1 || got.Kept != 1 || got.Size != "50 B larger" || got.Same() {
		t.Errorf("%+v", got)
	}
	if back := compare(report.Report{Details: after()}, report.Report{Details: before()}); back.Size != "50 B smaller" {
		t.Error(back.Size)
	}
	if same := compare(report.Report{Details: before()}, report.Report{Details: before()}); !same.Same() || same.Kept != 2 {
		t.Errorf("%+v", same)
	}
}

// Reports of earlier versions have no diff IDs.
func TestLayersWithoutDiffIDsAreToldApartByWhatMadeThem(t *testing.T) {
	was, now := before(), after()
	was.Layers, now.Layers, was.Config = nil, nil, nil
	if got := compare(report.Report{Details: was}, report.Report{Details: now}); got.Kept != 1 || len(got.Added) != 1 || len(got.Removed) != 1 {
		t.Errorf("%+v", got)
	}
}

func TestAReportIsReadAndComparedOnPages(t *testing.T) {
	handler, store, _ := serveWith(t, fakeEngine{}, io.Discard)
	var query []string
	for _, details := range []engine.Details{before(), after()} {
		made, err := store.Add("a:1", details, *at(int64(len(query)) * 100))
		if err != nil {
			t.Fatal(err)
		}
		query = append(query, "report="+made.ID)
	}
	id := strings.TrimPrefix(query[1], "report=")
	page := call{method: "GET", path: "/reports/" + id + "?done=made"}.to(handler).Body.String()
	for _, want := range []string{
		"The report was saved", "1001", `[&#34;/bin/x&#34;,&#34;two words&#34;]`, "COPY new /", "ADD base /", "90 B", "new value",
		`width="66%"`, `download="report-` + id, "2 steps, which made 2 layers",
	} {
		if !strings.Contains(page, want) {
			t.Errorf("no %s in %s", want, page)
		}
	}
	for _, order := range []string{query[0] + "&" + query[1], query[1] + "&" + query[0]} {
		page := call{method: "GET", path: "/compare?" + order}.to(handler).Body.String()
		if !regexp.MustCompile(`(?s)Removed</h3>.*COPY old /.*Added</h3>.*COPY new /`).MatchString(page) || !strings.Contains(page, "50 B larger") {
			t.Error(page)
		}
	}
	if page := (call{method: "GET", path: "/compare?" + query[0] + "&" + query[0]}).to(handler).Body.String(); !strings.Contains(page, "Nothing changed") {
		t.Error(page)
	}
	if got := (call{method: "GET", path: "/compare?" + query[0]}).to(handler); got.Code != 303 {
		t.Errorf("%d %s", got.Code, got.Body)
	} else if page := (call{method: "GET", path: got.Header().Get("Location")}).to(handler).Body.String(); !strings.Contains(page, "Choose two reports") {
		t.Error(page)
	}
}

func TestAReportIsDeletedAfterAQuestionAndThePageSaysSo(t *testing.T) {
	handler, store, _ := serveWith(t, fakeEngine{}, io.Discard)
	made, err := store.Add("a:1", before(), *at(1))
	if err != nil {
		t.Fatal(err)
	}
	path := "/reports/" + made.ID + "/delete"
	if got := (call{method: "GET", path: path}).to(handler); got.Code != 200 || !strings.Contains(got.Body.String(), `method="post" action="`+path+`"`) {
		t.Errorf("%d %s", got.Code, got.Body)
	}
	if _, err := store.Get(made.ID); err != nil {
		t.Error("the question deleted it")
	}
	next := call{method: "POST", path: path}.to(handler).Header().Get("Location")
	if got := (call{method: "GET", path: next}).to(handler).Body.String(); !strings.Contains(got, "The report was deleted.") {
		t.Errorf("%s: %s", next, got)
	}
}
