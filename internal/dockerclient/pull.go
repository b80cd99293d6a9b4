package dockerclient

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/docker/docker/api/types/image"
	"github.com/docker/docker/client"
	"github.com/docker/go-units"
)

// pullTick is the time between two words about a pull that lasts.
const pullTick = 5 * time.Second

// Pull pulls an image, with the credentials that the docker command would use,
// and returns when it is there. As long as it lasts, say is told now and then how
// far it is, if there is one.
func Pull(ctx context.Context, c *client.Client, name string, say func(string)) error {
	// A helper that fails is nothing to an image that anybody may pull, so it is
	// told of if it can't be pulled.
	auth, without := authOf(name)
	err := pull(ctx, c, name, auth, say)
	if err != nil && without != nil && ctx.Err() == nil {
		return fmt.Errorf("%w (without credentials: %w)", err, without)
	}
	return err
}

func pull(ctx context.Context, c *client.Client, name, auth string, say func(string)) error {
	out, err := c.ImagePull(ctx, name, image.PullOptions{RegistryAuth: auth})
	if err != nil {
		return err
	}
	defer func() { _ = out.Close() }()
	layers, last := map[string]layer{}, time.Now()
	// What fails after the beginning is a line of the progress.
	for d := json.NewDecoder(out); ; {
		var m struct {
			ID             string `json:"id"`
			Status         string `json:"status"`
			ProgressDetail layer  `json:"progressDetail"`
			Error          string `json:"error"`
		}
		if err := d.Decode(&m); errors.Is(err, io.EOF) {
			return nil
		} else if err != nil {
			return err
		}
		if m.Error != "" {
			return errors.New(m.Error)
		}
		if m.Status == "Downloading" {
			layers[m.ID] = m.ProgressDetail
		} else if l, ok := layers[m.ID]; ok {
			layers[m.ID] = layer{l.Total, l.Total}
		}
		if say != nil && len(layers) > 0 && time.Since(last) >= pullTick {
			last = time.Now()
			say(progressOf(layers))
		}
	}
}

// layer is how many of the bytes of an image's layer are here.
type layer struct {
	Current int64 `json:"current"`
	Total   int64 `json:"total"`
}

func progressOf(layers map[string]layer) string {
	var sum layer
	for _, l := range layers {
		sum.Current += l.Current
		sum.Total += max(l.Total, l.Current)
	}
	return fmt.Sprintf("pulled %s of %s", units.HumanSize(float64(sum.Current)), units.HumanSize(float64(sum.Total)))
}
