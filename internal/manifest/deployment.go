package manifest

import (
	"slices"

	"go.yaml.in/yaml/v4"
)

// How instances are replaced where the file doesn't say.
const (
	minimumPercent = 50
	maximumPercent = 200
)

func (f *serviceFields) deployment(n *yaml.Node, path string) error {
	percent := func(to **int, least, most int64) func(entry, string) error {
		return func(e entry, at string) error {
			v, err := f.number(e.value, at, least, most)
			p := int(v)
			*to = &p
			return err
		}
	}
	return f.fields(n, path, "services.*.deployment", reading{
		"minimum": percent(&f.minimum, 0, allOfThem),
		"maximum": percent(&f.maximum, allOfThem, maximumPercent),
	})
}

// finishDeployment fills in what the file doesn't say. What must be alone, and a
// single instance that writes data, has to stop before the next one starts: two
// on the same data would ruin them.
func (f *serviceFields) finishDeployment() error {
	f.Deployment = Deployment{Minimum: minimumPercent, Maximum: maximumPercent}
	if f.Singleton || f.Count == 1 && slices.ContainsFunc(f.Volumes, Volume.Keeps) {
		f.Deployment = Deployment{Minimum: 0, Maximum: allOfThem}
	}
	if f.minimum != nil {
		f.Deployment.Minimum = *f.minimum
	}
	switch {
	case f.maximum != nil:
		f.Deployment.Maximum = *f.maximum
	case f.Deployment.Minimum == allOfThem:
		// Who wants all of them to go on wants one more meanwhile.
		f.Deployment.Maximum = maximumPercent
	}
	if f.Singleton && f.Deployment.Maximum > allOfThem {
		return f.errorf(f.Line, f.path+".deployment", "a singleton can have no second instance meanwhile: want maximum 100")
	}
	if f.Deployment.Minimum == allOfThem && f.Deployment.Maximum == allOfThem {
		return f.errorf(f.Line, f.path+".deployment", "with minimum and maximum 100 nothing could ever be replaced")
	}
	return nil
}

func (f *serviceFields) termination(n *yaml.Node, path string) error {
	return f.fields(n, path, "services.*.termination", reading{
		"grace": func(e entry, at string) (err error) { f.StopTimeout, err = f.duration(e.value, at); return },
	})
}

// maxNDots is the most that a resolver takes.
const maxNDots = 15

func (f *serviceFields) dnsConfig(n *yaml.Node, path string) error {
	return f.fields(n, path, "services.*.dnsConfig", reading{
		"ndots": func(e entry, at string) error {
			v, err := f.number(e.value, at, 1, maxNDots)
			f.NDots = int(v)
			return err
		},
	})
}
