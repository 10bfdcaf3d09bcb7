package engine

import (
	"context"
	"strings"
)

// Container is one container of the engine's, running or not.
type Container struct {
	ID    string `json:"id"`
	Name  string `json:"name"`
	State string `json:"state"`
	Image string `json:"-"` // The ID of the image that it was made from.
}

// Containers calls each with one container of the engine's after the other. What can't be read or is
// too large is left out.
func (c *Client) Containers(ctx context.Context, each func(Container) error) error {
	body, err := c.open(ctx, "/containers/json?all=1", maxList)
	if err != nil {
		return err
	}
	defer body.Close()
	return elements(body, func(text []byte) error {
		var row struct {
			ID      string `json:"Id"`
			Names   []string
			ImageID string
			State   string
		}
		if text == nil || lenient(text, &row) != nil || row.ID == "" {
			return nil
		}
		name := row.ID
		if len(row.Names) > 0 {
			name = strings.TrimPrefix(row.Names[0], "/")
		}
		return each(Container{ID: row.ID, Name: name, State: row.State, Image: row.ImageID})
	})
}
