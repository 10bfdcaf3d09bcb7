// Package engine reads from a Docker engine over its HTTP API. It makes read calls only.
package engine

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"maps"
	"net"
	"net/http"
	"net/url"
	"os"
	"slices"
	"strconv"
	"strings"
	"time"
)

// newestAPI is the newest version of the API that this package was written for.
const newestAPI = "1.51"

// What an engine may send. A list is read element by element and never held, so that it may be long;
// any other answer is held whole.
const (
	maxList   = 256 << 20
	maxObject = 2 << 20
	maxSteps  = 10_000 // in one image's history
)

// How often the list of images is asked for while images are being removed.
const listAttempts = 5

// A busy engine with a hundred images takes more than 20 seconds for its list. It is less than a
// request may take; see internal/web.
const callTime = 40 * time.Second

// Errors that a caller may tell apart.
var (
	ErrUnavailable = errors.New("the Docker engine can't be reached")
	ErrNotFound    = errors.New("the engine has no such image")
	ErrUnexpected  = errors.New("the Docker engine gave an unexpected answer")
)

// slowError is an ErrUnavailable of an engine that is there: more patience helps, and no setting of
// the socket.
type slowError struct{}

func (slowError) Error() string {
	return "the Docker engine does not answer in time; it is there, and busy or slow"
}

func (slowError) Unwrap() error { return ErrUnavailable }

// Image is one image that the engine has; Size is the engine's own figure, Created is nil where it is
// unknown, Platforms is empty where the engine does not list them, and Labels is an object as the
// engine sent it.
type Image struct {
	ID        string          `json:"id"`
	Tags      []string        `json:"tags"`
	Digests   []string        `json:"digests"`
	Platforms []string        `json:"platforms"`
	Created   *time.Time      `json:"created"`
	Size      int64           `json:"size"`
	Labels    json.RawMessage `json:"labels"`
	Sizes
}

// Reference returns what Inspect takes for this image, or nothing where it has no usable name.
func (i Image) Reference() string {
	for _, name := range append(slices.Clip(i.Tags), i.ID) {
		if ValidReference(name) {
			return name
		}
	}
	return ""
}

// Layer is one step of an image's history; Created is nil where it is unknown.
type Layer struct {
	Created   *time.Time `json:"created"`
	CreatedBy string     `json:"created_by"`
	Size      int64      `json:"size"`
	Comment   string     `json:"comment"`
}

// Config is how a container of an image is started.
type Config struct {
	Env         []string `json:"env"`
	Entrypoint  []string `json:"entrypoint"`
	Command     []string `json:"command"`
	WorkingDir  string   `json:"working_dir"`
	Ports       []string `json:"ports"`
	Volumes     []string `json:"volumes"`
	Healthcheck []string `json:"healthcheck"`
	StopSignal  string   `json:"stop_signal"`
}

// Details is what the engine knows of one image. The first of Layers, their diff IDs, is the lowest;
// the first of History is the last step. Configuration and history are those of one platform, which OS
// and Architecture name; Platforms are all that the engine lists. Reports of earlier versions have
// neither Platforms, Layers nor Config.
type Details struct {
	ID           string          `json:"id"`
	Tags         []string        `json:"tags"`
	Digests      []string        `json:"digests"`
	Created      string          `json:"created"`
	Platforms    []string        `json:"platforms"`
	Size         int64           `json:"size"`
	OS           string          `json:"os"`
	Architecture string          `json:"architecture"`
	User         string          `json:"user"`
	Labels       json.RawMessage `json:"labels"`
	Config       *Config         `json:"config"`
	Layers       []string        `json:"layers"`
	History      []Layer         `json:"history"`
	Sizes
}

// moment is a time that the engine gives in seconds since 1970. It is nil for one that is missing or
// that JSON can't hold, so that one image's bad time spoils nothing else.
type moment struct{ *time.Time }

// The zero time is what the engine has for an image that does not say when it was made.
var (
	zeroTime = time.Time{}.Unix()
	lastTime = time.Date(9999, 12, 31, 23, 59, 59, 0, time.UTC).Unix()
)

func (m *moment) UnmarshalJSON(text []byte) error {
	if seconds, err := strconv.ParseInt(string(text), 10, 64); err == nil && zeroTime < seconds && seconds <= lastTime {
		at := time.Unix(seconds, 0).UTC()
		m.Time = &at
	}
	return nil
}

// Client talks to the engine behind one socket. It is safe for use by many goroutines.
type Client struct {
	socket string
	http   *http.Client
	log    *slog.Logger
}

// New returns a client; nothing is connected yet. The socket is always a path, also one that begins
// with @, which Go would take for the name of an abstract socket.
func New(socket string, log *slog.Logger) *Client {
	if strings.HasPrefix(socket, "@") {
		socket = "./" + socket
	}
	dial := func(ctx context.Context, _, _ string) (net.Conn, error) {
		var dialer net.Dialer
		return dialer.DialContext(ctx, "unix", socket)
	}
	return &Client{socket: socket, log: log, http: &http.Client{
		Timeout: callTime,
		Transport: &http.Transport{
			DialContext: dial, MaxIdleConns: 2, IdleConnTimeout: 30 * time.Second,
			DisableCompression: true, MaxResponseHeaderBytes: 64 << 10,
		},
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}}
}

// Images calls each with one image of the engine's after the other, while the answer comes in. An
// image that is too large to hold or has no ID is left out, and a line in the log says so.
func (c *Client) Images(ctx context.Context, each func(Image) error) error {
	body, err := c.openList(ctx)
	if err != nil {
		return err
	}
	defer body.Close()
	tooLarge, withoutID := 0, 0
	err = elements(body, func(text []byte) error {
		var row struct {
			ID          string `json:"Id"`
			RepoTags    []string
			RepoDigests []string
			Created     moment
			Size        int64
			Labels      json.RawMessage
			Manifests   []manifest
		}
		if text == nil {
			tooLarge++
			return nil
		}
		if err := lenient(text, &row); err != nil {
			return err
		}
		if row.ID == "" {
			withoutID++
			return nil
		}
		digests := named(row.RepoDigests)
		return each(Image{
			ID: row.ID, Tags: named(row.RepoTags), Digests: digests, Platforms: platformsOf(row.Manifests),
			Created: row.Created.Time, Size: row.Size, Labels: row.Labels,
			Sizes: sizesOf(row.ID, digests, row.Size, row.Manifests),
		})
	})
	if tooLarge+withoutID > 0 {
		c.log.Warn("images are left out of the list", "too_large", tooLarge, "without_id", withoutID)
	}
	return err
}

// openList asks for the list of images. An image that is removed while the engine makes the list can
// be answered with 404, as if one had been asked for: the list is asked for again.
func (c *Client) openList(ctx context.Context) (body io.ReadCloser, err error) {
	for range listAttempts {
		body, err = c.open(ctx, "/images/json?manifests=1", maxList)
		if !errors.Is(err, ErrNotFound) {
			return body, err
		}
	}
	return nil, fmt.Errorf("%w: no list of images", ErrUnexpected)
}

// inspected is what the engine answers about one image.
type inspected struct {
	ID           string `json:"Id"`
	RepoTags     []string
	RepoDigests  []string
	Created      string
	Size         int64
	Os           string
	Architecture string
	Config       struct {
		User         string
		Labels       json.RawMessage
		Env          []string
		Entrypoint   []string
		Cmd          []string
		WorkingDir   string
		ExposedPorts map[string]struct{}
		Volumes      map[string]struct{}
		Healthcheck  struct{ Test []string }
		StopSignal   string
	}
	RootFS    struct{ Layers []string }
	Manifests []manifest
}

// Inspect returns what the engine knows of one image, its history included.
func (c *Client) Inspect(ctx context.Context, reference string) (Details, error) {
	var found inspected
	path := "/images/" + url.PathEscape(reference)
	if err := c.get(ctx, path+"/json?manifests=1", &found); err != nil {
		return Details{}, err
	}
	layers, err := c.history(ctx, path)
	if err != nil {
		return Details{}, err
	}
	details := Details{
		ID: found.ID, Tags: named(found.RepoTags), Digests: named(found.RepoDigests),
		Created: found.Created, Size: found.Size, Platforms: platformsOf(found.Manifests), OS: found.Os, Architecture: found.Architecture,
		User: found.Config.User, Labels: found.Config.Labels, History: layers, Layers: found.RootFS.Layers,
		Config: &Config{
			Env: found.Config.Env, Entrypoint: found.Config.Entrypoint, Command: found.Config.Cmd,
			WorkingDir: found.Config.WorkingDir, StopSignal: found.Config.StopSignal,
			Ports:       slices.Sorted(maps.Keys(found.Config.ExposedPorts)),
			Volumes:     slices.Sorted(maps.Keys(found.Config.Volumes)),
			Healthcheck: found.Config.Healthcheck.Test,
		},
	}
	details.Sizes, err = c.sizes(ctx, found)
	return details, err
}

// sizes asks an engine with containerd's store that does not list manifests for what its list says.
func (c *Client) sizes(ctx context.Context, found inspected) (Sizes, error) {
	sizes := sizesOf(found.ID, found.RepoDigests, found.Size, found.Manifests)
	if sizes.Unpacked != nil || !inContainerdStore(found.ID, found.RepoDigests) {
		return sizes, nil
	}
	sizes.Content = &found.Size
	if tags := named(found.RepoTags); len(tags) > 0 {
		total, err := c.listed(ctx, found.ID, tags[0])
		if err != nil {
			return sizes, err
		}
		if total != nil && *total >= found.Size {
			unpacked := *total - found.Size
			sizes.Unpacked = &unpacked
		}
	}
	return sizes, nil
}

// history fails where a step can't be read: without it, it would be another image's.
func (c *Client) history(ctx context.Context, path string) ([]Layer, error) {
	body, err := c.open(ctx, path+"/history", maxObject)
	if err != nil {
		return nil, err
	}
	defer body.Close()
	layers := []Layer{}
	err = elements(body, func(text []byte) error {
		var step struct {
			Created   moment
			CreatedBy string
			Size      int64
			Comment   string
		}
		if len(layers) == maxSteps {
			return unexpected(fmt.Errorf("a history of more than %d steps", maxSteps))
		}
		if err := lenient(text, &step); err != nil {
			return err
		}
		layers = append(layers, Layer{Created: step.Created.Time, CreatedBy: step.CreatedBy, Size: step.Size, Comment: step.Comment})
		return nil
	})
	return layers, err
}

// lenient decodes an element of a list. A value of another type than expected leaves its field empty:
// what is odd in one element does not make the list unreadable.
func lenient(text []byte, into any) error {
	var other *json.UnmarshalTypeError
	if err := json.Unmarshal(text, into); err != nil && !errors.As(err, &other) {
		return unexpected(err)
	}
	return nil
}

// unexpected cuts the reason short: it may quote what the engine sent.
func unexpected(err error) error { return fmt.Errorf("%w: %.200s", ErrUnexpected, err) }

// named returns the names that an image really has, each once. Engines before API 1.43 list <none>:<none> and
// <none>@<none> for one without a tag.
func named(names []string) []string {
	found := []string{}
	for _, name := range names {
		if !strings.Contains(name, "<none>") {
			found = append(found, name)
		}
	}
	return unique(found)
}

// get decodes an answer that is held whole.
func (c *Client) get(ctx context.Context, path string, into any) error {
	body, err := c.open(ctx, path, maxObject)
	if err != nil {
		return err
	}
	defer body.Close()
	return decode(body, into)
}

func decode(body io.Reader, into any) error {
	text, err := io.ReadAll(body)
	if err != nil {
		return err
	}
	if err := json.Unmarshal(text, into); err != nil {
		return unexpected(err)
	}
	return nil
}

// open asks the engine, in a version of the API that both know, and returns the answer's body.
func (c *Client) open(ctx context.Context, path string, limit int64) (io.ReadCloser, error) {
	api, err := c.negotiate(ctx)
	if err != nil {
		return nil, err
	}
	response, err := c.call(ctx, "/v"+api+path, limit)
	if err != nil {
		return nil, err
	}
	switch response.StatusCode {
	case http.StatusOK:
		return response.Body, nil
	case http.StatusNotFound:
		err = ErrNotFound
	default:
		err = fmt.Errorf("%w: status %d", ErrUnexpected, response.StatusCode)
	}
	_ = response.Body.Close()
	return nil, err
}

// negotiate returns the newest version that both sides know, or the engine's oldest where it has
// left ours behind. It asks each time: an engine may be replaced while we run, and it costs little.
func (c *Client) negotiate(ctx context.Context) (string, error) {
	response, err := c.call(ctx, "/_ping", maxObject)
	if err != nil {
		return "", err
	}
	_ = response.Body.Close()
	theirs := response.Header.Get("Api-Version")
	if response.StatusCode != http.StatusOK || !valid(theirs) {
		return "", fmt.Errorf("%w: no API version", ErrUnexpected)
	}
	if older(theirs, newestAPI) {
		return theirs, nil
	}
	if oldest, err := c.oldest(ctx); err == nil && valid(oldest) && older(newestAPI, oldest) {
		return oldest, nil
	}
	return newestAPI, nil
}

// oldest asks for the oldest version that the engine still takes.
func (c *Client) oldest(ctx context.Context) (string, error) {
	response, err := c.call(ctx, "/version", maxObject)
	if err != nil {
		return "", err
	}
	defer response.Body.Close()
	var answer struct{ MinAPIVersion string }
	err = decode(response.Body, &answer)
	return answer.MinAPIVersion, err
}

func parts(version string) (int, int, bool) {
	left, right, found := strings.Cut(version, ".")
	major, err1 := strconv.Atoi(left)
	minor, err2 := strconv.Atoi(right)
	return major, minor, found && err1 == nil && err2 == nil
}

func valid(version string) bool {
	_, _, ok := parts(version)
	return ok
}

func older(a, b string) bool {
	majorA, minorA, _ := parts(a)
	majorB, minorB, _ := parts(b)
	return majorA < majorB || majorA == majorB && minorA < minorB
}

func (c *Client) call(ctx context.Context, path string, limit int64) (*http.Response, error) {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://docker"+path, nil)
	if err != nil {
		return nil, unexpected(err)
	}
	response, err := c.http.Do(request)
	if err != nil {
		return nil, c.explain(err)
	}
	response.Body = &answer{ReadCloser: response.Body, client: c, left: limit, limit: limit}
	return response, nil
}

// answer is the body of what the engine answers, up to a limit.
type answer struct {
	io.ReadCloser
	client      *Client
	left, limit int64
}

func (a *answer) Read(into []byte) (int, error) {
	// One byte more than allowed shows that there are more.
	count, err := a.ReadCloser.Read(into[:min(int64(len(into)), a.left+1)])
	a.left -= int64(count)
	switch {
	case a.left < 0:
		return 0, fmt.Errorf("%w: more than %d bytes", ErrUnexpected, a.limit)
	case err != nil && !errors.Is(err, io.EOF):
		return count, a.client.explain(err)
	}
	return count, err
}

// explain says why the engine can't be reached, and what to do about it.
func (c *Client) explain(err error) error {
	state, statErr := os.Stat(c.socket)
	switch {
	case errors.Is(statErr, fs.ErrNotExist):
		return fmt.Errorf("%w: %s does not exist; mount the socket into the container", ErrUnavailable, c.socket)
	case statErr == nil && state.Mode()&fs.ModeSocket == 0:
		return fmt.Errorf("%w: %s is not a socket", ErrUnavailable, c.socket)
	case errors.Is(err, fs.ErrPermission):
		return fmt.Errorf("%w: no permission on %s; run with --group-add and the socket's group", ErrUnavailable, c.socket)
	case errors.Is(err, context.DeadlineExceeded) || os.IsTimeout(err):
		return slowError{}
	}
	return fmt.Errorf("%w: %w", ErrUnavailable, err)
}
