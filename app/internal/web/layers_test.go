package web

import (
	"fmt"
	"testing"

	"github.com/smiller333/dockerutilities/app/internal/engine"
)

// history returns steps as an engine has them, the last first.
func history(steps ...engine.Layer) []engine.Layer {
	found := make([]engine.Layer, 0, len(steps))
	for i := range steps {
		found = append(found, steps[len(steps)-1-i])
	}
	return found
}

func made(by string, size int64) engine.Layer { return engine.Layer{CreatedBy: by, Size: size} }

func sizesAt(steps []step) string {
	found := ""
	for _, one := range steps {
		switch {
		case !one.Layer:
			found += " -"
		case one.Size == nil:
			found += " ?"
		default:
			found += fmt.Sprint(" ", *one.Size)
		}
	}
	return found
}

func TestEachSizeIsAtItsOwnLayer(t *testing.T) {
	// What an engine says where the base image has layers without a history: ADD has 900 bytes, WORKDIR none.
	shifted := history(made("ADD x /", 5), made("ENV a=b", 0), made("COPY y /", 900), made("WORKDIR /app", 40))
	last := engine.Layer{CreatedBy: "[runtime 3/4] WORKDIR /app", Size: 1, Comment: filled}
	for name, c := range map[string]struct {
		details engine.Details
		want    string
	}{
		"as the engine says":           {engine.Details{History: shifted, Layers: []string{"1", "2", "3"}}, " 5 - 900 40"},
		"a report without layers":      {engine.Details{History: shifted}, " 5 - 900 40"},
		"one layer without a history":  {engine.Details{History: append([]engine.Layer{last}, shifted...), Layers: []string{"0", "1", "2", "3"}}, " 5 900 - 40 1"},
		"the same in an old report":    {engine.Details{History: append([]engine.Layer{last}, shifted...)}, " 5 900 - 40 1"},
		"two layers without a history": {engine.Details{History: append([]engine.Layer{last, last}, shifted...)}, " 5 900 40 - 1 1"},
		"sizes that no step has":       {engine.Details{History: shifted, Layers: []string{"0", "1", "2", "3"}}, " 5 900 - 40 ?"},
		"a step that made no layer":    {engine.Details{History: history(made("ADD x /", 5), made("WORKDIR /", 0), made("RUN y", 7)), Layers: []string{"1", "2"}}, " 5 - 7"},
		"a command with a size":        {engine.Details{History: history(made("ENV odd", 5)), Layers: []string{"1"}}, " 5"},
		"no history":                   {engine.Details{}, ""},
	} {
		if got := sizesAt(stepsOf(c.details)); got != c.want {
			t.Errorf("%s:%s, not%s", name, got, c.want)
		}
	}
}

func TestTheLargestLayersComeFirst(t *testing.T) {
	steps := stepsOf(engine.Details{History: history(made("RUN a", 1), made("RUN b", 3), made("RUN c", 0), made("ENV d", 0), made("RUN e", 3))})
	if got := fmt.Sprint(len(largest(steps, 2)), largest(steps, 2)[0].Made, largest(steps, 9)[2].Made); got != "2RUN bRUN a" {
		t.Error(got)
	}
}
