package web

import (
	"cmp"
	"context"
	"crypto/rand"
	"encoding/hex"
	"fmt"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/smiller333/dockerutilities/app/internal/engine"
)

const (
	// maxHeld bounds what a list of images takes, about; the API has all of them.
	maxHeld = 16 << 20
	// maxContainers bounds what the containers of a list take, about.
	maxContainers = 4 << 20
	// imagesAPage are shown at once.
	imagesAPage = 100
	// listingTime is how long the page's script may search and sort a listing before the engine is asked again.
	listingTime = 2 * time.Minute
	// containersTime limits the wait for the containers: the images are shown without them.
	containersTime = 10 * time.Second
)

// row is an image as the page shows it.
type row struct {
	engine.Image
	Containers []engine.Container
}

func (r row) Dangling() bool { return len(r.Tags) == 0 }

// name is what an image is sorted by: its first tag, or its ID after all tags.
func (r row) name() string {
	if r.Dangling() {
		return "\xff" + r.ID
	}
	return r.Tags[0]
}

// Disk is what the image takes on the engine's disk.
func (r row) Disk() int64 { return r.OnDisk(r.Size) }

// listing is what the engine's lists said at one time; it is immutable.
type listing struct {
	id         string
	read       time.Time
	rows       []row // The newest first.
	more       int   // Images that are not held.
	containers bool  // Whether it is known which containers use an image.
}

// sum is a number of images and what they take.
type sum struct {
	Count int
	Size  int64
}

func (s *sum) add(r row) {
	s.Count++
	s.Size += r.Disk()
}

// readListing asks the engine. If the containers can't be listed, the images are shown without them.
func (s *server) readListing(ctx context.Context) (*listing, error) {
	var random [8]byte
	if _, err := rand.Read(random[:]); err != nil {
		return nil, err
	}
	found := &listing{id: hex.EncodeToString(random[:]), read: time.Now()}
	using, err := s.containers(ctx)
	found.containers = err == nil
	held := 0
	err = s.engine.Images(ctx, func(image engine.Image) error {
		image.Labels = nil // They are not shown.
		if held += weight(image); held > maxHeld {
			found.more++
			return nil
		}
		found.rows = append(found.rows, row{image, using[image.ID]})
		return nil
	})
	if err != nil {
		return nil, err
	}
	slices.SortFunc(found.rows, func(a, b row) int { return byCreated(a.Image, b.Image) })
	return found, nil
}

// weight is about what an image takes in memory.
func weight(image engine.Image) int {
	bytes := 512 + len(image.ID)
	for _, texts := range [][]string{image.Tags, image.Digests, image.Platforms} {
		for _, text := range texts {
			bytes += 16 + len(text)
		}
	}
	return bytes
}

// containers returns the containers of each image, by its ID.
func (s *server) containers(ctx context.Context) (map[string][]engine.Container, error) {
	ctx, cancel := context.WithTimeout(ctx, containersTime)
	defer cancel()
	using, held := map[string][]engine.Container{}, 0
	err := s.engine.Containers(ctx, func(one engine.Container) error {
		if held += 256 + len(one.Name); held <= maxContainers {
			using[one.Image] = append(using[one.Image], one)
		}
		return nil
	})
	if err != nil {
		s.log.Warn("the containers can't be listed", "error", err)
		return nil, err
	}
	for _, some := range using {
		slices.SortFunc(some, func(a, b engine.Container) int {
			return cmp.Or(cmp.Compare(a.Name, b.Name), cmp.Compare(a.ID, b.ID))
		})
	}
	return using, nil
}

// byCreated orders images the newest first, those of an unknown time last; of one time, as all
// images of a reproducible build are, by name.
func byCreated(a, b engine.Image) int {
	made := func(image engine.Image) int64 {
		if image.Created == nil {
			return -1 << 62
		}
		return image.Created.Unix()
	}
	return cmp.Or(cmp.Compare(made(b), made(a)), byName(a, b))
}

func byName(a, b engine.Image) int {
	return cmp.Or(cmp.Compare(row{Image: a}.name(), row{Image: b}.name()), cmp.Compare(a.ID, b.ID))
}

// query is what is asked of a listing.
type query struct {
	Text, Show, Sort string
	Page             int
}

// Next is the page after this one; zero is none.
func (r result) Next() int { return (r.Page + 1) % (r.Pages + 1) }

// Previous is the page before.
func (r result) Previous() int { return r.Page - 1 }

// choice is one of the values that a query can have.
type choice struct{ Value, Label string }

var (
	shows = []choice{
		{"all", "All images"}, {"tagged", "Tagged"}, {"dangling", "Dangling"},
		{"used", "Used by a container"}, {"unused", "Unused"},
	}
	// A minus reverses the usual order of a column.
	sorts = []choice{
		{"created", "Newest first"}, {"-created", "Oldest first"},
		{"name", "Name, A to Z"}, {"-name", "Name, Z to A"},
		{"size", "Largest first"}, {"-size", "Smallest first"},
		{"containers", "Most containers first"}, {"-containers", "Fewest containers first"},
	}
)

// known returns a value that is one of the choices, or the first choice.
func known(value string, of []choice) string {
	for _, one := range of {
		if one.Value == value {
			return value
		}
	}
	return of[0].Value
}

func queryOf(values url.Values) query {
	q := query{
		Text: strings.TrimSpace(values.Get("q")), Show: known(values.Get("show"), shows),
		Sort: known(values.Get("sort"), sorts),
	}
	q.Page, _ = strconv.Atoi(values.Get("page"))
	q.Page = max(q.Page, 1)
	return q
}

// address is that of the page that shows the answer; the usual values are left out.
func (q query) address() string {
	values := url.Values{}
	for _, one := range []struct{ name, value, usual string }{
		{"q", q.Text, ""}, {"show", q.Show, shows[0].Value}, {"sort", q.Sort, sorts[0].Value},
		{"page", strconv.Itoa(q.Page), "1"},
	} {
		if one.value != one.usual {
			values.Set(one.name, one.value)
		}
	}
	if len(values) == 0 {
		return "/"
	}
	return "/?" + values.Encode()
}

// Sorted is the address that sorts by a column, or reverses the order if it is sorted by that already.
func (q query) Sorted(column string) string {
	if q.Sort == column {
		column = "-" + column
	}
	q.Sort, q.Page = column, 1
	return q.address()
}

// Direction is what the header of a column says to a screen reader.
func (q query) Direction(column string) string {
	switch {
	case strings.TrimPrefix(q.Sort, "-") != column:
		return "none"
	case (column == "name") == (q.Sort == column):
		return "ascending"
	}
	return "descending"
}

// Only is the address that shows a part of the images.
func (q query) Only(show string) string {
	q.Show, q.Page = show, 1
	return q.address()
}

// At is the address of a page.
func (q query) At(page int) string {
	q.Page = page
	return q.address()
}

// result is what a query found.
type result struct {
	Rows                  []row // On this page.
	Found                 int
	First, Last, Page     int // Numbers of rows and of the page; each begins at one.
	Pages                 int
	All, Dangling, Unused sum // Of all images.
	Containers            bool
	More                  int
	Listing               string
}

// answer searches, sorts and cuts out a page.
func (l *listing) answer(q query) result {
	got := result{More: l.more, Listing: l.id, Containers: l.containers}
	words := strings.Fields(strings.ToLower(q.Text))
	var found []row
	for _, one := range l.rows {
		got.All.add(one)
		if one.Dangling() {
			got.Dangling.add(one)
		}
		if l.containers && len(one.Containers) == 0 {
			got.Unused.add(one)
		}
		if l.shown(one, q.Show) && one.has(words) {
			found = append(found, one)
		}
	}
	order(found, q.Sort)
	got.Found = len(found)
	got.Pages = max(1, (len(found)+imagesAPage-1)/imagesAPage)
	got.Page = min(q.Page, got.Pages)
	begin := (got.Page - 1) * imagesAPage
	got.Rows = found[begin:min(begin+imagesAPage, len(found))]
	got.First, got.Last = begin+1, begin+len(got.Rows)
	return got
}

func (l *listing) shown(one row, show string) bool {
	switch show {
	case "tagged":
		return !one.Dangling()
	case "dangling":
		return one.Dangling()
	case "used":
		return len(one.Containers) > 0
	case "unused":
		return l.containers && len(one.Containers) == 0
	}
	return true
}

// has tells whether each word is somewhere in what an image is known by.
func (r row) has(words []string) bool {
	for _, word := range words {
		here := func(text string) bool { return strings.Contains(strings.ToLower(text), word) }
		if !here(r.ID) && !slices.ContainsFunc(r.Tags, here) && !slices.ContainsFunc(r.Digests, here) &&
			!slices.ContainsFunc(r.Platforms, here) &&
			!slices.ContainsFunc(r.Containers, func(one engine.Container) bool { return here(one.Name) }) {
			return false
		}
	}
	return true
}

// order sorts rows that begin with the newest: of two equal ones, the newer stays first.
func order(rows []row, by string) {
	column, turned := strings.CutPrefix(by, "-")
	compare := map[string]func(a, b row) int{
		"created":    func(a, b row) int { return byCreated(a.Image, b.Image) },
		"name":       func(a, b row) int { return byName(a.Image, b.Image) },
		"size":       func(a, b row) int { return cmp.Compare(b.Disk(), a.Disk()) },
		"containers": func(a, b row) int { return cmp.Compare(len(b.Containers), len(a.Containers)) },
	}
	slices.SortStableFunc(rows, func(a, b row) int {
		if turned {
			return compare[column](b, a)
		}
		return compare[column](a, b)
	})
}

// Summary says in words what was found.
func (r result) Summary() string {
	switch {
	case r.Found == 0:
		return "No image found"
	case r.Found == 1:
		return "1 image"
	case r.Pages == 1:
		return fmt.Sprintf("%d images", r.Found)
	}
	return fmt.Sprintf("%d images, %d to %d shown", r.Found, r.First, r.Last)
}
