package registry

import (
	"context"
	"errors"
	"fmt"

	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
	clientv3 "go.etcd.io/etcd/client/v3"
)

// Role is a role of etcd's, with which one part of rackdns gets what it needs
// and nothing else.
type Role struct {
	Name        string
	For         string
	Permissions []Permission
}

// Permission is the right to read, or to read and write, the keys from Key up
// to and without End; without End, that one key.
type Permission struct {
	Key, End string
	Write    bool
}

// Roles returns the roles of the rack: for DNS servers, for those who declare
// services and resources, and for the agent of each node.
func (l Layout) Roles(nodes []string) ([]Role, error) {
	prefix := func(p string, write bool) Permission {
		return Permission{Key: p, End: clientv3.GetPrefixRangeEnd(p), Write: write}
	}
	all := prefix(l.Base(), false)
	name := "rackdns-" + l.rack
	roles := []Role{
		{Name: name + "-reader", For: "DNS servers: read names, no credentials", Permissions: []Permission{all}},
		{Name: name + "-admin", For: "commands and the HTTP interface: everything of the rack", Permissions: []Permission{
			prefix(l.Base(), true), prefix(l.Secrets(), true), prefix(l.Locks(), true),
		}},
	}
	for _, node := range nodes {
		if err := CheckNode(node); err != nil {
			return nil, err
		}
		roles = append(roles, Role{Name: name + "-agent-" + node, For: "the agent of node " + node + ": its own keys, which services were seen, and the runs of timers", Permissions: []Permission{
			all, {Key: l.Node(node), Write: true}, prefix(l.Instances(node), true), prefix(l.base+"seen/", true), prefix(l.timers(), true),
		}})
	}
	return roles, nil
}

// SetUpRole creates the role, or adds what it lacks.
func (c *Client) SetUpRole(ctx context.Context, r Role) error {
	etcd, err := c.connect(ctx)
	if err != nil {
		return c.inWords(ctx, "set up etcd's roles", err)
	}
	return c.do(ctx, "set up etcd's role "+r.Name, func(ctx context.Context, _ clientv3.KV) error {
		if _, err := etcd.RoleAdd(ctx, r.Name); err != nil && !errors.Is(rpctypes.Error(err), rpctypes.ErrRoleAlreadyExist) {
			return err
		}
		for _, p := range r.Permissions {
			kind := clientv3.PermRead
			if p.Write {
				kind = clientv3.PermReadWrite
			}
			if _, err := etcd.RoleGrantPermission(ctx, r.Name, p.Key, p.End, clientv3.PermissionType(kind)); err != nil {
				return fmt.Errorf("permission for %s: %w", p.Key, err)
			}
		}
		return nil
	})
}
