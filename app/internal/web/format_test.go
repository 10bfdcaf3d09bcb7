package web

import (
	"io"
	"log/slog"
	"strings"
	"testing"
	"time"
)

var quietLog = slog.New(slog.NewTextHandler(io.Discard, nil))

func TestSizes(t *testing.T) {
	for bytes, want := range map[int64]string{0: "0 B", 999: "999 B", 15_600_000: "15.6 MB", 2_000_000_000: "2 GB"} {
		if got := size(bytes); got != want {
			t.Errorf("%d: %s", bytes, got)
		}
	}
}

func TestAges(t *testing.T) {
	now := time.Unix(2_000_000_000, 0)
	for seconds, want := range map[int64]string{
		-1: "in the future", 59: "just now", 60: "1 minute ago", 7199: "1 hour ago", 7200: "2 hours ago", 86_400: "1 day ago",
		40 * 86_400: "1 month ago", 800 * 86_400: "2 years ago",
	} {
		if got := age(now.Add(-time.Duration(seconds)*time.Second), now); got != want {
			t.Errorf("%d: %s", seconds, got)
		}
	}
	if got := day(time.Unix(0, 0).In(time.FixedZone("X", 3600))); got != "1970-01-01 00:00 UTC" {
		t.Error(got)
	}
}

func TestWhatIsNotSeenIsShown(t *testing.T) {
	for text, want := range map[string]string{
		"a:1": "a:1", "a\u202eb": `a\u202eb`, "a\x00\x1b\n": `a\u0000\u001b\u000a`, "a\u2028": `a\u2028`, "é漢": "é漢",
	} {
		if got := visible(text); got != want {
			t.Errorf("%q: %s", text, got)
		}
	}
}

func TestAShortID(t *testing.T) {
	for id, want := range map[string]string{"sha256:" + strings.Repeat("ab", 32): "abababababab", "sha256:ab": "sha256:ab", "x": "x"} {
		if got := short(id); got != want {
			t.Errorf("%s: %s", id, got)
		}
	}
}

func TestAStepIsAsInTheDockerfile(t *testing.T) {
	for made, want := range map[string]string{
		"COPY /out/ / # buildkit":               "COPY /out/ /",
		"/bin/sh -c #(nop)  CMD [\"sh\"]":       `CMD ["sh"]`,
		"/bin/sh -c apk add x":                  "RUN apk add x",
		"|1 A=b /bin/sh -c make":                "RUN make",
		"|0 /bin/sh -c make":                    "RUN make",
		"RUN /bin/sh -c make # buildkit":        "RUN make",
		"RUN |1 A=b /bin/sh -c make # buildkit": "RUN make",
		"ADD file:1 in / ":                      "ADD file:1 in /",
	} {
		if got := instructionOf(made); got != want {
			t.Errorf("%q: %q", made, got)
		}
	}
}
