package web

import (
	"fmt"
	"regexp"
	"strings"
	"time"
	"unicode"
)

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

// count returns a number with the word for what is counted.
func count(number int, one string) string {
	if number == 1 {
		return "1 " + one
	}
	return fmt.Sprintf("%d %ss", number, one)
}

// age returns how long ago a time was, in the largest unit that fits.
func age(then, now time.Time) string {
	passed := now.Sub(then)
	if passed < 0 {
		return "in the future"
	}
	const day = 24 * time.Hour
	for _, unit := range []struct {
		name string
		long time.Duration
	}{{"year", 365 * day}, {"month", 30 * day}, {"day", day}, {"hour", time.Hour}, {"minute", time.Minute}} {
		if number := int(passed / unit.long); number > 0 {
			return count(number, unit.name) + " ago"
		}
	}
	return "just now"
}

func day(t time.Time) string { return t.UTC().Format("2006-01-02 15:04") + " UTC" }

func stamp(t time.Time) string { return t.UTC().Format(time.RFC3339) }

// short returns the beginning of an ID or a digest, as docker prints it.
func short(id string) string {
	algorithm, rest, found := strings.Cut(id, ":")
	if !found || algorithm != "sha256" || len(rest) < 12 {
		return id
	}
	return rest[:12]
}

// visible replaces characters that are invisible, or that change how the text beside them is shown.
func visible(text string) string {
	var out strings.Builder
	for _, char := range text {
		if unicode.IsControl(char) || unicode.Is(unicode.Cf, char) || unicode.Is(unicode.Zl, char) || unicode.Is(unicode.Zp, char) {
			fmt.Fprintf(&out, `\u%04x`, char)
		} else {
			out.WriteRune(char)
		}
	}
	return out.String()
}

var (
	withShell   = regexp.MustCompile(`^(?:RUN )?(?:\|\d+ (?:.*? )?)?/bin/sh -c `)
	instruction = regexp.MustCompile(`^[A-Z]+\b`)
)

// instructionOf returns a step of the history as it is in a Dockerfile, whatever made it.
func instructionOf(made string) string {
	text := strings.TrimSpace(strings.TrimSuffix(strings.TrimSpace(made), "# buildkit"))
	if rest, found := strings.CutPrefix(text, "/bin/sh -c #(nop)"); found {
		return strings.TrimSpace(rest)
	}
	if at := withShell.FindStringIndex(text); at != nil {
		return "RUN " + text[at[1]:]
	}
	return text
}
