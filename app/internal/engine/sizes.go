package engine

import (
	"context"
	"encoding/json"
	"errors"
	"net/url"
	"slices"
	"strings"
)

// Sizes are what an image takes on the engine's disk, in bytes; nil is unknown. With containerd's
// image store an engine keeps the content as a registry sends it, mostly compressed, and the
// unpacked files as well; with its older store it keeps the unpacked files alone.
type Sizes struct {
	Content  *int64 `json:"content_size"`
	Unpacked *int64 `json:"unpacked_size"`
}

// OnDisk returns the sum of what is known, or size, the engine's own figure.
func (s Sizes) OnDisk(size int64) int64 {
	switch {
	case s.Content != nil && s.Unpacked != nil:
		return *s.Content + *s.Unpacked
	case s.Unpacked != nil:
		return *s.Unpacked
	}
	return size
}

// manifest is one of an image's manifests, which engines since API 1.47 list with containerd's store.
type manifest struct {
	Size      struct{ Content int64 }
	ImageData *struct {
		Platform struct{ OS, Architecture, Variant string }
		Size     struct{ Unpacked int64 }
	}
	Available bool
}

// sizesOf returns what the manifests of an image say, or the image itself: one whose ID is a digest
// of the repository is in containerd's store, and its size is of content and files, in a list, or of
// content alone.
func sizesOf(id string, digests []string, size int64, manifests []manifest) Sizes {
	if len(manifests) > 0 {
		content, unpacked := int64(0), int64(0)
		for _, one := range manifests {
			content += one.Size.Content
			if one.ImageData != nil {
				unpacked += one.ImageData.Size.Unpacked
			}
		}
		return Sizes{&content, &unpacked}
	}
	if len(digests) == 0 || inContainerdStore(id, digests) {
		return Sizes{}
	}
	return Sizes{Unpacked: &size}
}

func inContainerdStore(id string, digests []string) bool {
	return slices.ContainsFunc(digests, func(digest string) bool { return strings.HasSuffix(digest, "@"+id) })
}

// platformsOf returns the platforms whose content is here, such as linux/arm/v7.
func platformsOf(manifests []manifest) []string {
	found := []string{}
	for _, one := range manifests {
		if one.ImageData != nil && one.Available {
			of := one.ImageData.Platform
			found = append(found, Platform(of.OS, of.Architecture, of.Variant))
		}
	}
	return unique(found)
}

// Platform returns a platform as docker writes it.
func Platform(system, architecture, variant string) string {
	if architecture == "arm64" && variant == "v8" {
		variant = "" // There is no other one.
	}
	return strings.Join(slices.DeleteFunc([]string{system, architecture, variant}, func(part string) bool { return part == "" }), "/")
}

// listed returns the size that the list has for an image, which is of content and unpacked files
// with containerd's store; nil where the list does not have it.
func (c *Client) listed(ctx context.Context, id, tag string) (*int64, error) {
	filters, err := json.Marshal(map[string][]string{"reference": {tag}})
	if err != nil {
		return nil, err
	}
	body, err := c.open(ctx, "/images/json?filters="+url.QueryEscape(string(filters)), maxList)
	if errors.Is(err, ErrNotFound) {
		return nil, nil // It was removed meanwhile.
	}
	if err != nil {
		return nil, err
	}
	defer body.Close()
	var found *int64
	return found, elements(body, func(text []byte) error {
		var row struct {
			ID   string `json:"Id"`
			Size int64
		}
		if err := lenient(text, &row); err == nil && row.ID == id {
			found = &row.Size
		}
		return nil
	})
}

// unique returns each text once, in the order of the first.
func unique(texts []string) []string {
	seen := map[string]bool{}
	return slices.DeleteFunc(texts, func(one string) bool {
		known := seen[one]
		seen[one] = true
		return known
	})
}
