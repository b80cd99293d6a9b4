package deploy

import (
	"context"
	"crypto/rand"
	"fmt"
	"slices"

	"github.com/docker/docker/api/types/container"
	"github.com/docker/docker/api/types/filters"

	"github.com/rackdns/rackdns/internal/label"
	"github.com/rackdns/rackdns/internal/resource"
	"github.com/rackdns/rackdns/internal/resource/data"
)

// checkVolume makes sure that a resource's volume is its own and has data that
// its server can work on, and that nobody else does.
func (u *up) checkVolume(ctx context.Context, c *component) error {
	if err := u.checkData(ctx, c); err != nil || !changes(c.steps) {
		return err
	}
	users, err := u.ContainerList(ctx, container.ListOptions{Filters: filters.NewArgs(filters.Arg("volume", c.spec.Volume))})
	if err != nil {
		return fmt.Errorf("%s: list who uses volume %s: %w", c, c.spec.Volume, err)
	}
	for _, user := range users {
		own := slices.ContainsFunc(c.have, func(e *existing) bool { return e.id == user.ID })
		writes := slices.ContainsFunc(user.Mounts, func(m container.MountPoint) bool { return m.Name == c.spec.Volume && m.RW })
		if !own && writes {
			return fmt.Errorf("%s: volume %s is in use by container %s, and two would ruin the data: stop that one first", c, c.spec.Volume, asExisting(&user).name)
		}
	}
	return nil
}

// checkData makes sure that a server can work on the data that are there: those
// of its type, of a version that isn't newer, with the account that it is given.
// What says the type is the volume, whose labels nothing copies, and the data
// themselves, which say the version too.
func (u *up) checkData(ctx context.Context, c *component) error {
	v := u.volumeOf(c.spec.Volume)
	if v == nil {
		return nil
	}
	const another = "%s: volume %s has the data of a resource of type %s: give this one another name, or remove them for ever (docker volume rm %[2]s)"
	if kind := v.Labels[label.Resource]; kind != "" && kind != c.kind.Name {
		return fmt.Errorf(another, c, v.Name, kind)
	}
	if !changes(c.steps) && c.refused == nil || c.spec.Image == "" {
		return nil // or there is no image yet to look with, when it is only rehearsed
	}
	if err := u.findPasswords(ctx, c); err != nil {
		return fmt.Errorf("%s: %w", c, err)
	}
	labels := u.labels("")
	delete(labels, label.Service)
	labels[label.UpID] = rand.Text()
	written, err := data.Look(ctx, u.Client, v.Name, c.spec.Image, c.kind, labels)
	switch {
	case err != nil:
		return fmt.Errorf("%s: %w", c, err)
	case written.Type != "" && written.Type != c.kind.Name:
		return fmt.Errorf(another, c, v.Name, written.Type)
	case written.Data && c.refused != nil:
		return c.refused
	case written.Version == "":
		return nil
	}
	version, err := data.ServerVersion(ctx, u.Client, c.spec.Image, c.kind, labels)
	if err != nil {
		return fmt.Errorf("%s: %w", c, err)
	}
	if err := c.kind.CheckVersion(written.Version, version); err != nil {
		return fmt.Errorf("%s: volume %s %w", c, v.Name, err)
	}
	return nil
}

// givePassword has a resource's server take the password that it is to have, if
// its data may have another one: the one that the registry has had until now, or
// one of a container that was there when somebody cut this off.
func (u *up) givePassword(ctx context.Context, c *component, made *existing) error {
	if c.made == nil || len(c.made.Former) == 0 {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, u.cfg.Timeout)
	defer cancel()
	if err := data.SetPassword(ctx, u.Client, made.id, c.kind, c.made.Account, c.made.Former); err != nil {
		return fmt.Errorf("%s: %w", made, err)
	}
	c.changed = true
	u.say(c.name, "changed the password")
	return nil
}

// takePasswordBack gives the data the password that a container knows which has
// its place back.
func (u *up) takePasswordBack(ctx context.Context, c *component, e *existing) error {
	if !c.changed {
		return nil
	}
	c.changed = false
	before, err := u.accountOf(ctx, e)
	if err != nil || before.Password == "" {
		return err
	}
	return data.SetPassword(ctx, u.Client, e.id, c.kind, before, []string{c.made.Account.Password})
}

// findPasswords notes which passwords the data of a resource may have besides the
// one that they are to have.
func (u *up) findPasswords(ctx context.Context, c *component) error {
	if !c.kind.KeepsPassword() {
		return nil
	}
	for _, e := range c.have {
		a, err := u.accountOf(ctx, e)
		if err != nil {
			return err
		}
		if a.Password != "" && a.Password != c.made.Account.Password && !slices.Contains(c.made.Former, a.Password) {
			c.made.Former = append(c.made.Former, a.Password)
		}
	}
	return nil
}

// accountOf returns the account that a container was started with.
func (u *up) accountOf(ctx context.Context, e *existing) (resource.Account, error) {
	is, err := u.ContainerInspect(ctx, e.id)
	if err != nil {
		return resource.Account{}, fmt.Errorf("inspect container %s: %w", e.name, err)
	}
	return resource.AccountIn(is.Config.Env), nil
}
