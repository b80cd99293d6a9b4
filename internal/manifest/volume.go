package manifest

import (
	"path"
	"strings"

	"go.yaml.in/yaml/v4"

	"github.com/rackdns/rackdns/internal/registry"
)

// volumes reads what is mounted: /path, NAME:/path, or a path of the host and
// /path, each with :ro or :rw at its end.
func (f *serviceFields) volumes(n *yaml.Node, at string) error {
	items, err := f.texts(n, at)
	if err != nil {
		return err
	}
	for i, item := range items {
		line := n.Content[i].Line
		v, why := parseVolume(item)
		if why != "" {
			return f.errorf(line, at, "%s %s", registry.Quote(item), why)
		}
		v.Line = line
		if err := f.mount(v, at); err != nil {
			return err
		}
	}
	return nil
}

// parseVolume reads one of the short forms, or says what is wrong.
func parseVolume(s string) (v Volume, why string) {
	const want = "is not a volume: want /path, NAME:/path or /host/path:/path, and :ro behind it where nothing is to be written"
	parts := strings.Split(s, ":")
	if last := len(parts) - 1; last > 0 {
		switch parts[last] {
		case "ro":
			v.ReadOnly, parts = true, parts[:last]
		case "rw", "z", "Z":
			parts = parts[:last]
		}
	}
	switch len(parts) {
	case 1:
		v.Kind = PathVolume
	case 2:
		v.Source = parts[0]
		switch {
		case strings.HasPrefix(v.Source, "~"):
			return v, "begins with ~, which depends on who is asked: write the whole path"
		case nameForm.MatchString(v.Source) && registry.IsLabel(v.Source):
			v.Kind = NamedVolume
		case strings.ContainsRune(v.Source, '/') || strings.HasPrefix(v.Source, "."):
			v.Kind = HostPath
		default:
			return v, "is not a volume: only a-z, 0-9 and dashes, beginning with a letter, can name one"
		}
	default:
		return v, want
	}
	target := parts[len(parts)-1]
	if !path.IsAbs(target) {
		return v, want
	}
	v.Target = path.Clean(target)
	return v, ""
}

// mount adds a volume to those of the service.
func (f *serviceFields) mount(v Volume, at string) error {
	switch {
	case v.Target == "/":
		return f.errorf(v.Line, at, "nothing can be mounted at /")
	case strings.Contains(v.Source+v.Target, "\x00"):
		return f.errorf(v.Line, at, "holds a NUL, which no path has")
	}
	for _, o := range f.Volumes {
		if o.Target == v.Target {
			return f.errorf(v.Line, at, "%s is there twice, first in line %d", registry.Quote(v.Target), o.Line)
		}
	}
	f.Volumes = append(f.Volumes, v)
	return nil
}

// volumeOptions reads the longer forms.
func (f *serviceFields) volumeOptions(n *yaml.Node, at string) error {
	items, err := f.list(n, at)
	if err != nil {
		return err
	}
	for _, item := range items {
		v := Volume{Line: item.Line}
		err := f.fields(item, at, "services.*.volumeOptions", reading{
			"emptyDir": func(e entry, at string) error { return f.emptyDir(&v, e.value, at) },
			"awsEfs":   func(e entry, at string) error { return f.awsEfs(&v, e.value, at) },
		})
		switch {
		case err != nil:
			return err
		case v.Kind == 0:
			return f.errorf(item.Line, at, "want emptyDir or awsEfs")
		case v.Target == "":
			return f.errorf(item.Line, at, "has no mountPath")
		}
		if err := f.mount(v, at); err != nil {
			return err
		}
	}
	return nil
}

func (f *serviceFields) emptyDir(v *Volume, n *yaml.Node, at string) error {
	v.Kind = Scratch
	return f.fields(n, at, "services.*.volumeOptions.emptyDir", reading{
		"id":        func(e entry, at string) (err error) { _, err = f.filled(e.value, at); return },
		"mountPath": func(e entry, at string) (err error) { v.Target, err = f.absolute(e.value, at); return },
		"medium": func(e entry, at string) error {
			s, err := f.text(e.value, at)
			if err == nil && s != "Memory" {
				err = f.errorf(e.line, at, "%s is no medium; want Memory, or none", registry.Quote(s))
			}
			v.Kind = MemoryScratch
			return err
		},
	})
}

func (f *serviceFields) awsEfs(v *Volume, n *yaml.Node, at string) error {
	v.Kind = NamedVolume
	err := f.fields(n, at, "services.*.volumeOptions.awsEfs", reading{
		"id": func(e entry, at string) (err error) {
			if v.Source, err = f.text(e.value, at); err == nil {
				err = f.name(e.line, at, "volume", v.Source)
			}
			return err
		},
		"mountPath": func(e entry, at string) (err error) { v.Target, err = f.absolute(e.value, at); return },
		"accessMode": func(e entry, at string) error {
			s, err := f.text(e.value, at)
			switch {
			case err != nil:
			case s == "ReadOnlyMany":
				v.ReadOnly = true
			case s != "ReadWriteMany" && s != "ReadWriteOnce":
				err = f.errorf(e.line, at, "%s is no mode of access; want ReadOnlyMany, ReadWriteMany or ReadWriteOnce", registry.Quote(s))
			}
			return err
		},
	})
	if err == nil && v.Source == "" {
		err = f.errorf(n.Line, at, "has no id")
	}
	return err
}

// absolute reads a path in the container.
func (f *serviceFields) absolute(n *yaml.Node, at string) (string, error) {
	s, err := f.text(n, at)
	if err == nil && !path.IsAbs(s) {
		err = f.errorf(n.Line, at, "%s is not a path that begins with /", registry.Quote(s))
	}
	return path.Clean(s), err
}
