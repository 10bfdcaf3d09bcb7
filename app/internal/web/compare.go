package web

import (
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/smiller333/dockerutilities/app/internal/engine"
	"github.com/smiller333/dockerutilities/app/internal/report"
)

// field is a name and what it has; a change has what it had before and has now.
type (
	field  struct{ Name, Value string }
	change struct {
		Name, Before, After string
		Added, Removed      bool
	}
)

// overview is what an image is, in words.
func overview(details engine.Details) []field {
	config := engine.Config{}
	if details.Config != nil {
		config = *details.Config
	}
	here := ""
	if len(details.Platforms) > 1 {
		here = strings.Join(details.Platforms, ", ")
	}
	fields := []field{
		{"ID", details.ID},
		{"Tags", strings.Join(details.Tags, "\n")},
		{"Digests", strings.Join(details.Digests, "\n")},
		{"Created", inUTC(details.Created)},
		{"Platform", engine.Platform(details.OS, details.Architecture, "")},
		{"Platforms here", here},
		{"User", or(details.User, "root, as no user is set")},
		{"Entrypoint", words(config.Entrypoint)},
		{"Command", words(config.Command)},
		{"Working directory", config.WorkingDir},
		{"Ports", strings.Join(config.Ports, ", ")},
		{"Volumes", strings.Join(config.Volumes, "\n")},
		{"Health check", words(config.Healthcheck)},
		{"Stop signal", config.StopSignal},
	}
	return slices.DeleteFunc(fields, func(one field) bool { return one.Value == "" })
}

// inUTC returns a time of the engine's as the pages show it, and anything else as it is.
func inUTC(text string) string {
	if at, err := time.Parse(time.RFC3339Nano, text); err == nil {
		return day(at)
	}
	return text
}

// words returns a command line as JSON has it, which shows where a word ends.
func words(command []string) string {
	if len(command) == 0 {
		return ""
	}
	text, _ := encode(command) // A list of strings always has JSON.
	return strings.TrimSpace(string(text))
}

func or(value, fallback string) string {
	if value == "" {
		return fallback
	}
	return value
}

// sizeFields say what the sizes of an image mean.
func sizeFields(details engine.Details) []field {
	var fields []field
	if details.Content != nil {
		fields = append(fields, field{"Content", size(*details.Content)})
	}
	if details.Unpacked != nil {
		fields = append(fields, field{"Unpacked", size(*details.Unpacked)})
	}
	if details.Content == nil || details.Unpacked == nil {
		return append(fields, field{"Size", size(details.Size)})
	}
	return append(fields, field{"On disk", size(details.OnDisk(details.Size))})
}

// labels returns the labels of an image in order; what is no text is as it is in JSON.
func labels(details engine.Details) []field {
	var found map[string]json.RawMessage
	if json.Unmarshal(details.Labels, &found) != nil {
		return nil
	}
	fields := make([]field, 0, len(found))
	for _, name := range slices.Sorted(maps.Keys(found)) {
		var text string
		if json.Unmarshal(found[name], &text) != nil {
			text = string(found[name])
		}
		fields = append(fields, field{name, text})
	}
	return fields
}

func environment(details engine.Details) []field {
	if details.Config == nil {
		return nil
	}
	fields := make([]field, 0, len(details.Config.Env))
	for _, one := range details.Config.Env {
		name, value, _ := strings.Cut(one, "=")
		fields = append(fields, field{name, value})
	}
	return fields
}

// changed returns what differs between two lists of fields, in the order of the names in both.
func changed(before, after []field) []change {
	now := map[string]string{}
	for _, one := range after {
		now[one.Name] = one.Value
	}
	var found []change
	was := map[string]bool{}
	for _, one := range before {
		was[one.Name] = true
		if value, still := now[one.Name]; !still || value != one.Value {
			found = append(found, change{one.Name, one.Value, value, false, !still})
		}
	}
	for _, one := range after {
		if !was[one.Name] {
			found = append(found, change{one.Name, "", one.Value, true, false})
		}
	}
	return found
}

// comparison is what changed from one report to the other.
type comparison struct {
	Before, After              report.Report
	Image, Environment, Labels []change
	Removed, Added             []step // Layers.
	Kept                       int
	Size                       string
}

// Same tells whether nothing changed.
func (c comparison) Same() bool {
	return len(c.Image)+len(c.Environment)+len(c.Labels)+len(c.Removed)+len(c.Added) == 0
}

func compare(before, after report.Report) comparison {
	was, now := before.Details, after.Details
	got := comparison{
		Before: before, After: after,
		Image:       changed(slices.Concat(overview(was), sizeFields(was)), slices.Concat(overview(now), sizeFields(now))),
		Environment: changed(environment(was), environment(now)),
		Labels:      changed(labels(was), labels(now)),
		Size:        difference(was.OnDisk(was.Size), now.OnDisk(now.Size)),
	}
	left := map[string]int{}
	for _, one := range layersOf(now) {
		left[one.key()]++
	}
	kept := map[string]int{}
	for _, one := range layersOf(was) {
		if key := one.key(); kept[key] < left[key] {
			kept[key]++
			got.Kept++
		} else {
			got.Removed = append(got.Removed, one)
		}
	}
	for _, one := range layersOf(now) {
		if key := one.key(); kept[key] > 0 {
			kept[key]--
		} else {
			got.Added = append(got.Added, one)
		}
	}
	return got
}

func layersOf(details engine.Details) []step {
	return slices.DeleteFunc(stepsOf(details), func(one step) bool { return !one.Layer })
}

// key is the same for layers that are the same: by their content, or else by what made them.
func (s step) key() string {
	if s.Diff != "" {
		return s.Diff
	}
	bytes := int64(-1)
	if s.Size != nil {
		bytes = *s.Size
	}
	return fmt.Sprint(bytes, " ", s.Made)
}

func difference(before, after int64) string {
	switch {
	case after > before:
		return size(after-before) + " larger"
	case after < before:
		return size(before-after) + " smaller"
	}
	return "of the same size"
}
