// Package dockerclient is what all who talk to a Docker Engine have in common.
package dockerclient

import (
	"context"
	"encoding/json"
	"errors"
	"io"

	"github.com/docker/docker/api/types/image"
	"github.com/docker/docker/client"
)

// Dial returns a client for the engine that Find finds. It makes no connection.
func Dial(host string) (*client.Client, error) {
	e, err := Find(host)
	if err != nil {
		return nil, err
	}
	return e.Dial()
}

// Pull pulls an image that anybody may pull, and returns when it is there. For
// others there is docker pull.
func Pull(ctx context.Context, c *client.Client, name string) error {
	out, err := c.ImagePull(ctx, name, image.PullOptions{})
	if err != nil {
		return err
	}
	defer func() { _ = out.Close() }()
	// What fails after the beginning is a line of the progress.
	for d := json.NewDecoder(out); ; {
		var m struct {
			Error string `json:"error"`
		}
		if err := d.Decode(&m); errors.Is(err, io.EOF) {
			return nil
		} else if err != nil {
			return err
		}
		if m.Error != "" {
			return errors.New(m.Error)
		}
	}
}
