package registry

import (
	"context"
	"slices"

	clientv3 "go.etcd.io/etcd/client/v3"
)

// Access is what etcd asks of this client.
type Access struct {
	// Socket says that it is reached by a socket of this host's, which belongs to
	// one user; TLS that connections are secured.
	Socket, TLS bool
	// User is who we are, empty if etcd wasn't told.
	User string
}

// Access returns how the client gets in.
func (c *Client) Access() Access {
	a := Access{TLS: c.trust != nil, User: c.cfg.Username, Socket: true}
	for _, e := range c.cfg.Endpoints {
		_, socket := socketPath(e)
		a.Socket = a.Socket && socket
	}
	return a
}

// Lacking returns which of the permissions of a role the client's user hasn't;
// none if etcd has no users, or doesn't know it by a name.
func (c *Client) Lacking(ctx context.Context, want Role) ([]Permission, error) {
	if c.login == nil {
		return nil, nil
	}
	const what = "read the roles of etcd's user"
	etcd, err := c.connect(ctx)
	if err != nil {
		return nil, c.inWords(ctx, what, err)
	}
	var have []Permission
	root := false
	err = c.do(ctx, what, func(ctx context.Context, _ clientv3.KV) error {
		u, err := etcd.UserGet(ctx, c.cfg.Username)
		if err != nil {
			return err
		}
		for _, name := range u.Roles {
			if name == "root" {
				// It may do all, and need not be there as a role.
				root = true
				continue
			}
			r, err := etcd.RoleGet(ctx, name)
			if err != nil {
				return err
			}
			for _, p := range r.Perm {
				kind := clientv3.PermissionType(p.PermType)
				if kind != clientv3.PermissionType(clientv3.PermWrite) {
					have = append(have, Permission{Key: string(p.Key), End: string(p.RangeEnd), Write: kind == clientv3.PermissionType(clientv3.PermReadWrite)})
				}
			}
		}
		return nil
	})
	if err != nil || root {
		return nil, err
	}
	return slices.DeleteFunc(slices.Clone(want.Permissions), func(p Permission) bool {
		return slices.ContainsFunc(have, p.within)
	}), nil
}

// within reports whether all that p permits is permitted by another one.
func (p Permission) within(o Permission) bool {
	if p.Write && !o.Write {
		return false
	}
	if p.End == "" {
		return o.Key == p.Key || o.End != "" && o.Key <= p.Key && (o.End == "\x00" || p.Key < o.End)
	}
	return o.End != "" && o.Key <= p.Key && (o.End == "\x00" || p.End <= o.End)
}

// Admin is the role for those who run commands.
func (l Layout) Admin() (Role, error) {
	roles, err := l.Roles(nil)
	if err != nil {
		return Role{}, err
	}
	return roles[1], nil
}
