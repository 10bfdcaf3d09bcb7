package web

import (
	"slices"
	"time"

	"github.com/smiller333/dockerutilities/app/internal/engine"
)

// step is a line of an image's history as the page shows it; Size is nil where there is no layer, or
// where its size is unknown.
type step struct {
	Number  int
	Created *time.Time
	Made    string
	Layer   bool
	Size    *int64
	Diff    string // The layer's diff ID, where it is known.
}

// layerless are the instructions that change the configuration alone.
var layerless = []string{
	"ARG", "CMD", "ENTRYPOINT", "ENV", "EXPOSE", "HEALTHCHECK", "LABEL", "MAINTAINER", "ONBUILD", "SHELL",
	"STOPSIGNAL", "USER", "VOLUME",
}

// filled is the comment of a step that BuildKit adds at the end of a history that has fewer steps with
// a layer than the image has layers.
const filled = "buildkit.exporter.image.v0"

// stepsOf returns the history of an image, the first step first, with each size at the layer that
// has it. An engine gives the sizes in the order of the layers to the steps that made one. Where the
// base image has layers without a history, these are the first sizes, and the engine has each of
// them at a step that is too early; the last ones are at steps that BuildKit has added.
func stepsOf(details engine.Details) []step {
	var steps []step
	var sizes []int64
	known := 0 // Layers whose step is known.
	for _, one := range slices.Backward(details.History) {
		text := instructionOf(one.CreatedBy)
		layer := one.Size > 0 || !slices.Contains(layerless, instruction.FindString(text))
		if layer {
			sizes = append(sizes, one.Size)
		}
		if one.Comment == filled {
			continue
		}
		if layer {
			known++
		}
		steps = append(steps, step{Created: one.Created, Made: text, Layer: layer})
	}
	switch missing := max(len(details.Layers), len(sizes)) - known; {
	case missing > 0:
		steps = append(make([]step, missing), steps...)
		for i := range missing {
			steps[i] = step{Layer: true, Made: "A layer without a history, such as one of the base image"}
		}
	case len(details.Layers) > 0 && len(details.Layers) < known:
		steps = withoutEmpty(steps, sizes)
		sizes = slices.DeleteFunc(sizes, func(size int64) bool { return size == 0 })
	}
	place(steps, sizes, details.Layers)
	return steps
}

// withoutEmpty takes steps whose layer would be empty for ones without a layer: some builders make
// none of a WORKDIR that is there already.
func withoutEmpty(steps []step, sizes []int64) []step {
	at := 0
	for i := range steps {
		if steps[i].Layer {
			steps[i].Layer = sizes[at] > 0
			at++
		}
	}
	return steps
}

// place gives the layers their sizes and diff IDs in their order.
func place(steps []step, sizes []int64, diffs []string) {
	at := 0
	for i := range steps {
		steps[i].Number = i + 1
		if !steps[i].Layer {
			continue
		}
		if at < len(sizes) {
			steps[i].Size = &sizes[at]
		}
		if at < len(diffs) {
			steps[i].Diff = diffs[at]
		}
		at++
	}
}

// largest returns the layers that have the most bytes, the largest first.
func largest(steps []step, number int) []step {
	found := slices.DeleteFunc(slices.Clone(steps), func(one step) bool { return one.Size == nil || *one.Size == 0 })
	slices.SortStableFunc(found, func(a, b step) int { return int(min(max(*b.Size-*a.Size, -1), 1)) })
	return found[:min(number, len(found))]
}
