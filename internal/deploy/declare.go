package deploy

import (
	"context"
	"maps"

	"github.com/rackdns/rackdns/internal/registry"
	"github.com/rackdns/rackdns/internal/resource"
)

// announce tells the registry of services and resources that there were none of,
// and keeps the URLs of the resources that are made here: a password must not
// get lost once there are data of it. What was declared before stays as it is
// until it is true.
func (u *up) announce(ctx context.Context) error {
	return u.registry.Edit(ctx, u.app, func(d *registry.Declared) error {
		copyNew(d.Services, u.declared.Services)
		copyNew(d.Resources, u.declared.Resources)
		for name, url := range u.urls {
			if was := d.Secrets[name]; was == "" || samePassword(was, url) {
				d.Secrets[name] = url
			}
		}
		return nil
	})
}

// samePassword tells whether two URLs have one password. Another one is that of
// the data only once their server has taken it.
func samePassword(a, b string) bool {
	was, err := resource.AccountOf(a)
	if err != nil {
		return true // it can't be that of any data
	}
	is, err := resource.AccountOf(b)
	return err == nil && was.Password == is.Password
}

func copyNew[V any](to, from map[string]V) {
	for name, v := range from {
		if _, ok := to[name]; !ok {
			to[name] = v
		}
	}
}

// declare tells the registry what a component is now.
func (u *up) declare(ctx context.Context, c *component) error {
	return u.registry.Edit(ctx, u.app, func(d *registry.Declared) error {
		if c.resource {
			d.Resources[c.name] = u.declared.Resources[c.name]
			d.Secrets[c.name] = u.urls[c.name]
		} else {
			d.Services[c.name] = u.declared.Services[c.name]
		}
		return nil
	})
}

// settle ends it: resources that are elsewhere now are declared as such, and
// what the manifest doesn't have any more is removed, but for resources that
// were declared by hand. The secrets stay, as the data do that they are for.
func (u *up) settle(ctx context.Context) error {
	return u.registry.Edit(ctx, u.app, func(d *registry.Declared) error {
		maps.Copy(d.Resources, u.declared.Resources)
		maps.DeleteFunc(d.Services, func(name string, _ *registry.Service) bool { return u.declared.Services[name] == nil })
		maps.DeleteFunc(d.Resources, func(name string, r *registry.Resource) bool {
			return u.declared.Resources[name] == nil && r.Manager == registry.ManagerUp
		})
		return nil
	})
}
