// Package dockerclient is what all who talk to a Docker Engine have in common.
package dockerclient

import "github.com/docker/docker/client"

// Dial returns a client for the engine that Find finds. It makes no connection.
func Dial(host string) (*client.Client, error) {
	e, err := Find(host)
	if err != nil {
		return nil, err
	}
	return e.Dial()
}
