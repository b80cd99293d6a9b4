package registry

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"slices"

	clientv3 "go.etcd.io/etcd/client/v3"
)

// Declared is what is declared of one app, or of the rack itself: it exists
// until it is removed, whether anything runs or not.
type Declared struct {
	// App is empty for the rack, which has only resources.
	App       string
	Services  map[string]*Service
	Resources map[string]*Resource
	// Secrets are the URLs of the resources, with credentials, by name. They
	// are nil if they were not asked for.
	Secrets map[string]string
}

// Declared returns what is declared of an app, as of one moment. Entries that
// can't be used are left out. Secrets need a role that may read them.
func (c *Client) Declared(ctx context.Context, app string, secrets bool) (*Declared, error) {
	s, err := c.readDeclared(ctx, app, secrets)
	if err != nil {
		return nil, err
	}
	return &s.Declared, nil
}

// Edit changes what is declared of an app: it reads everything, secrets
// included, lets edit change it, and writes the differences in one transaction,
// or nothing. Should somebody else have written meanwhile it begins again, so
// edit can be called several times; an error of edit's is returned as it is.
// What can't be read is not shown to edit, and left alone.
//
// More than a hundred differences, or a megabyte, take several transactions.
func (c *Client) Edit(ctx context.Context, app string, edit func(*Declared) error) error {
	for {
		s, err := c.readDeclared(ctx, app, true)
		if err != nil {
			return err
		}
		if err := edit(&s.Declared); err != nil {
			return err
		}
		ops, err := s.differences()
		if err == nil {
			err = c.commit(ctx, s, ops)
		}
		if !errors.Is(err, errChanged) {
			return err
		}
	}
}

// declaredState is what was read, and at which revision.
type declaredState struct {
	Declared
	layout   Layout
	prefixes []declaredPrefix
	revision int64
	was      map[string]was
}

// declaredPrefix is where keys of one kind are, 0 for credentials.
type declaredPrefix struct {
	kind   Kind
	prefix string
}

// was is a key's value as it was read.
type was struct {
	value    []byte
	modified int64
	// shown says that edit is shown it, since it can be used; same is then the
	// value that means no change.
	shown bool
	same  []byte
}

func (c *Client) readDeclared(ctx context.Context, app string, secrets bool) (*declaredState, error) {
	if app != "" {
		if err := CheckApp("app", app); err != nil {
			return nil, err
		}
	}
	s := &declaredState{
		Declared: Declared{App: app, Services: map[string]*Service{}, Resources: map[string]*Resource{}},
		layout:   c.layout,
		prefixes: []declaredPrefix{
			{KindService, c.layout.Service(appOrRack(app), "")}, {KindResource, c.layout.Resource(app, "")},
		},
		was: map[string]was{},
	}
	if secrets {
		s.Secrets = map[string]string{}
		s.prefixes = append(s.prefixes, declaredPrefix{prefix: c.layout.Secret(app, "")})
	}
	var ops []clientv3.Op
	for _, p := range s.prefixes {
		ops = append(ops, clientv3.OpGet(p.prefix, clientv3.WithPrefix()))
	}
	var read *clientv3.TxnResponse
	err := c.do(ctx, "read what is declared", func(ctx context.Context, kv clientv3.KV) (err error) {
		read, err = kv.Txn(ctx).Then(ops...).Commit()
		return err
	})
	if err != nil {
		return nil, err
	}
	s.revision = read.Header.Revision
	for n, r := range read.Responses {
		for _, kv := range r.GetResponseRange().Kvs {
			p := s.prefixes[n]
			s.take(string(kv.Key), Key{Kind: p.kind, Owner: appOrRack(app), Name: string(kv.Key[len(p.prefix):])}, kv.Value, kv.ModRevision)
		}
	}
	return s, nil
}

// take takes in one key. What can't be used is only noted.
func (s *declaredState) take(key string, k Key, value []byte, modified int64) {
	w := was{value: value, modified: modified}
	if IsLabel(k.Name) {
		w.same, w.shown = s.show(k, value)
	}
	s.was[key] = w
}

// show shows edit a value, if it can be used, and returns what it is when it
// is written again.
func (s *declaredState) show(k Key, value []byte) (same []byte, ok bool) {
	if k.Kind == 0 {
		s.Secrets[k.Name] = string(value)
		return value, true
	}
	if k.Kind == KindService {
		v, err := DecodeService(k, value)
		if err == nil {
			same, err = Overlay(value, v)
		}
		if err == nil {
			s.Services[k.Name] = v
		}
		return same, err == nil
	}
	v, err := DecodeResource(k, value)
	if err == nil {
		same, err = Overlay(value, v)
	}
	if err == nil {
		s.Resources[k.Name] = v
	}
	return same, err == nil
}

// write is a key's new value, or that it is to go.
type write struct {
	key    string
	value  []byte
	remove bool
}

// differences returns what is to be written, in the order of the keys.
func (s *declaredState) differences() ([]write, error) {
	wanted := map[string][]byte{}
	put := func(key string, v any) error {
		b, err := Overlay(s.was[key].value, v)
		wanted[key] = b
		return err
	}
	for name, v := range s.Services {
		if err := v.Check(); err != nil {
			return nil, err
		}
		if v.App != s.App || v.Service != name {
			return nil, fmt.Errorf("service %s of app %s: contradicts its key", Quote(v.Service), Quote(v.App))
		}
		if err := put(s.layout.Service(s.App, name), v); err != nil {
			return nil, fmt.Errorf("service %s: %w", name, err)
		}
	}
	for name, v := range s.Resources {
		if err := v.Check(); err != nil {
			return nil, err
		}
		if v.App != s.App || v.Name != name {
			return nil, fmt.Errorf("resource %s of app %s: contradicts its key", Quote(v.Name), Quote(v.App))
		}
		if err := put(s.layout.Resource(s.App, name), v); err != nil {
			return nil, fmt.Errorf("resource %s: %w", name, err)
		}
	}
	for name, url := range s.Secrets {
		if err := CheckLabel("resource", name); err != nil {
			return nil, err
		}
		if len(url) > MaxValue {
			return nil, fmt.Errorf("URL of resource %s: %w", name, ErrTooLarge)
		}
		wanted[s.layout.Secret(s.App, name)] = []byte(url)
	}
	var ws []write
	for key, value := range wanted {
		if w := s.was[key]; !w.shown || !bytes.Equal(value, w.same) {
			ws = append(ws, write{key: key, value: value})
		}
	}
	for key, w := range s.was {
		// What couldn't be read was not shown to edit, and is not its to remove.
		if _, keep := wanted[key]; !keep && w.shown {
			ws = append(ws, write{key: key, remove: true})
		}
	}
	slices.SortFunc(ws, func(a, b write) int { return bytes.Compare([]byte(a.key), []byte(b.key)) })
	return ws, nil
}

func (c *Client) commit(ctx context.Context, s *declaredState, ws []write) error {
	revision := s.revision
	for len(ws) > 0 {
		n, size := 0, 0
		for n < len(ws) && n < batchOps && (n == 0 || size+len(ws[n].value) <= batchBytes) {
			size += len(ws[n].value)
			n++
		}
		r, err := c.commitBatch(ctx, s, revision, ws[:n])
		if err != nil {
			return err
		}
		revision, ws = r, ws[n:]
	}
	return nil
}

// commitBatch writes if nothing was changed or added since revision, and
// nothing of what is to be written was removed.
func (c *Client) commitBatch(ctx context.Context, s *declaredState, revision int64, ws []write) (int64, error) {
	var (
		ifs  []clientv3.Cmp
		then []clientv3.Op
	)
	for _, p := range s.prefixes {
		ifs = append(ifs, clientv3.Compare(clientv3.ModRevision(p.prefix), "<", revision+1).WithPrefix())
	}
	for _, w := range ws {
		ifs = append(ifs, clientv3.Compare(clientv3.ModRevision(w.key), "=", s.was[w.key].modified))
		if w.remove {
			then = append(then, clientv3.OpDelete(w.key))
		} else {
			then = append(then, clientv3.OpPut(w.key, string(w.value)))
		}
	}
	var r *clientv3.TxnResponse
	err := c.do(ctx, "write what is declared", func(ctx context.Context, kv clientv3.KV) (err error) {
		r, err = kv.Txn(ctx).If(ifs...).Then(then...).Commit()
		return err
	})
	if err != nil {
		return 0, err
	}
	if !r.Succeeded {
		return 0, errChanged
	}
	return r.Header.Revision, nil
}
