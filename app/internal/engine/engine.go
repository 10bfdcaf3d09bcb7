// Package engine reads from a Docker engine over its HTTP API. It makes read calls only.
package engine

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"net/http"
	"net/url"
	"os"
	"strconv"
	"strings"
	"time"
)

// newestAPI is the newest version of the API that this package was written for.
const newestAPI = "1.51"

// maxAnswer bounds what an engine may send: a list of many thousand images stays below it.
const maxAnswer = 32 << 20

const callTime = 20 * time.Second

// Errors that a caller may tell apart.
var (
	ErrUnavailable = errors.New("the Docker engine can't be reached")
	ErrNotFound    = errors.New("the engine has no such image")
	ErrUnexpected  = errors.New("the Docker engine gave an unexpected answer")
)

// Image is one image that the engine has; Size is in bytes.
type Image struct {
	ID      string            `json:"id"`
	Tags    []string          `json:"tags"`
	Created time.Time         `json:"created"`
	Size    int64             `json:"size"`
	Labels  map[string]string `json:"labels"`
}

// Layer is one step of an image's history.
type Layer struct {
	Created   time.Time `json:"created"`
	CreatedBy string    `json:"created_by"`
	Size      int64     `json:"size"`
}

// Details is what the engine knows of one image.
type Details struct {
	ID           string            `json:"id"`
	Tags         []string          `json:"tags"`
	Digests      []string          `json:"digests"`
	Created      string            `json:"created"`
	Size         int64             `json:"size"`
	OS           string            `json:"os"`
	Architecture string            `json:"architecture"`
	User         string            `json:"user"`
	Labels       map[string]string `json:"labels"`
	History      []Layer           `json:"history"`
}

// Client talks to the engine behind one socket. It is safe for use by many goroutines.
type Client struct {
	socket string
	http   *http.Client
}

// New returns a client; nothing is connected yet.
func New(socket string) *Client {
	dial := func(ctx context.Context, _, _ string) (net.Conn, error) {
		var dialer net.Dialer
		return dialer.DialContext(ctx, "unix", socket)
	}
	return &Client{socket: socket, http: &http.Client{
		Timeout:       callTime,
		Transport:     &http.Transport{DialContext: dial, MaxIdleConns: 2, IdleConnTimeout: 30 * time.Second},
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}}
}

// Images returns the images that the engine has.
func (c *Client) Images(ctx context.Context) ([]Image, error) {
	var rows []struct {
		ID       string `json:"Id"`
		RepoTags []string
		Created  int64
		Size     int64
		Labels   map[string]string
	}
	if err := c.get(ctx, "/images/json", &rows); err != nil {
		return nil, err
	}
	images := make([]Image, 0, len(rows))
	for _, row := range rows {
		images = append(images, Image{
			ID: row.ID, Tags: orEmpty(row.RepoTags), Created: time.Unix(row.Created, 0).UTC(),
			Size: row.Size, Labels: row.Labels,
		})
	}
	return images, nil
}

// Inspect returns what the engine knows of one image, its history included.
func (c *Client) Inspect(ctx context.Context, reference string) (Details, error) {
	var found struct {
		ID           string `json:"Id"`
		RepoTags     []string
		RepoDigests  []string
		Created      string
		Size         int64
		Os           string
		Architecture string
		Config       struct {
			User   string
			Labels map[string]string
		}
	}
	path := "/images/" + url.PathEscape(reference)
	if err := c.get(ctx, path+"/json", &found); err != nil {
		return Details{}, err
	}
	var history []struct {
		Created   int64
		CreatedBy string
		Size      int64
	}
	if err := c.get(ctx, path+"/history", &history); err != nil {
		return Details{}, err
	}
	layers := make([]Layer, 0, len(history))
	for _, step := range history {
		layers = append(layers, Layer{
			Created: time.Unix(step.Created, 0).UTC(), CreatedBy: step.CreatedBy, Size: step.Size,
		})
	}
	return Details{
		ID: found.ID, Tags: orEmpty(found.RepoTags), Digests: orEmpty(found.RepoDigests),
		Created: found.Created, Size: found.Size, OS: found.Os, Architecture: found.Architecture,
		User: found.Config.User, Labels: found.Config.Labels, History: layers,
	}, nil
}

func orEmpty(list []string) []string {
	if list == nil {
		return []string{}
	}
	return list
}

func (c *Client) get(ctx context.Context, path string, into any) error {
	api, err := c.negotiate(ctx)
	if err != nil {
		return err
	}
	body, status, _, err := c.call(ctx, "/v"+api+path)
	switch {
	case err != nil:
		return err
	case status == http.StatusNotFound:
		return ErrNotFound
	case status != http.StatusOK:
		return fmt.Errorf("%w: status %d", ErrUnexpected, status)
	}
	if err := json.Unmarshal(body, into); err != nil {
		return fmt.Errorf("%w: %w", ErrUnexpected, err)
	}
	return nil
}

// negotiate returns the newest version that both sides know, or the engine's oldest where it has
// left ours behind. It asks each time: an engine may be replaced while we run, and it costs little.
func (c *Client) negotiate(ctx context.Context) (string, error) {
	_, status, header, err := c.call(ctx, "/_ping")
	if err != nil {
		return "", err
	}
	theirs := header.Get("Api-Version")
	if status != http.StatusOK || !valid(theirs) {
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
	body, _, _, err := c.call(ctx, "/version")
	if err != nil {
		return "", err
	}
	var answer struct{ MinAPIVersion string }
	err = json.Unmarshal(body, &answer)
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

func (c *Client) call(ctx context.Context, path string) ([]byte, int, http.Header, error) {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://docker"+path, nil)
	if err != nil {
		return nil, 0, nil, fmt.Errorf("%w: %w", ErrUnexpected, err)
	}
	response, err := c.http.Do(request)
	if err != nil {
		return nil, 0, nil, c.explain(err)
	}
	defer response.Body.Close()
	body, err := io.ReadAll(io.LimitReader(response.Body, maxAnswer+1))
	switch {
	case err != nil:
		return nil, 0, nil, c.explain(err)
	case len(body) > maxAnswer:
		return nil, 0, nil, fmt.Errorf("%w: more than %d bytes", ErrUnexpected, maxAnswer)
	}
	return body, response.StatusCode, response.Header, nil
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
		return fmt.Errorf("%w: it did not answer in time", ErrUnavailable)
	}
	return fmt.Errorf("%w: %w", ErrUnavailable, err)
}
