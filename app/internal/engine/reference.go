package engine

import "regexp"

// A host name's part between two dots.
const label = `[A-Za-z0-9](?:[A-Za-z0-9-]*[A-Za-z0-9])?`

// The grammar of github.com/distribution/reference, and an image's ID as it may be typed.
var (
	reference = regexp.MustCompile(`^` +
		`(?:(?:` + label + `(?:\.` + label + `)*|\[[0-9a-fA-F:]+\])(?::[0-9]+)?/)?` +
		`[a-z0-9]+(?:(?:\.|_|__|-+)[a-z0-9]+)*(?:/[a-z0-9]+(?:(?:\.|_|__|-+)[a-z0-9]+)*)*` +
		`(?::[A-Za-z0-9_][A-Za-z0-9_.-]{0,127})?` +
		`(?:@sha256:[0-9a-f]{64})?$`)
	identifier = regexp.MustCompile(`^sha256:[0-9a-f]{12,64}$`)
)

// ValidReference tells whether a text can name an image.
func ValidReference(text string) bool {
	return len(text) <= 512 && (reference.MatchString(text) || identifier.MatchString(text))
}
