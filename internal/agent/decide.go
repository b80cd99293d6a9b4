package agent

import (
	"fmt"
	"net/netip"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/rackdns/rackdns/internal/registry"
)

// Reason says in one word why a container is not registered. There are few of
// them, so that they can label a metric.
type Reason string

// The reasons for which a container is not registered.
const (
	ReasonIgnored     Reason = "ignored"
	ReasonOneOff      Reason = "one-off"
	ReasonProcessType Reason = "process-type"
	ReasonName        Reason = "name"
	ReasonNoNetwork   Reason = "no-network"
	ReasonJoined      Reason = "joined"
	ReasonTooLarge    Reason = "too-large"
	ReasonInvalid     Reason = "invalid"
	ReasonNotRunning  Reason = "not-running"
	ReasonInspect     Reason = "inspect"
	ReasonImage       Reason = "image"
	ReasonRack        Reason = "rack"
	ReasonUnlabelled  Reason = "unlabelled"
)

// reasons are all of them but ReasonNotRunning, which is no news.
var reasons = []Reason{
	ReasonIgnored, ReasonOneOff, ReasonProcessType, ReasonName, ReasonNoNetwork,
	ReasonJoined, ReasonTooLarge, ReasonInvalid, ReasonInspect, ReasonImage,
	ReasonRack, ReasonUnlabelled,
}

// Meant reports whether somebody wants it so, as opposed to a mistake.
func (r Reason) Meant() bool {
	switch r {
	case ReasonIgnored, ReasonOneOff, ReasonProcessType, ReasonNotRunning, ReasonRack, ReasonUnlabelled:
		return true
	}
	return false
}

// Refusal is a container that is not registered, and why.
type Refusal struct {
	ID        string `json:"id"`
	Container string `json:"container"`
	Reason    Reason `json:"reason"`
	// Detail is the reason in words.
	Detail string `json:"detail"`
}

// Choice is one decision: the value of a field, where it comes from, and which
// other sources lost.
type Choice struct {
	Field     string   `json:"field"`
	Value     string   `json:"value"`
	Source    string   `json:"source"`
	Overruled []string `json:"overruled,omitempty"`
}

// Limits on what one container can put into the registry.
const (
	maxTags     = 64
	maxTagKey   = 63
	maxTagValue = 255
	maxPorts    = 256
	maxText     = 255
	maxNotes    = 16
)

// home is the node that a container runs on.
type home struct {
	node string
	// addr is the node's address for others, other its address of the other
	// IP family, if it has one.
	addr, other netip.Addr
}

// of returns the node's address of the family of ip.
func (h home) of(ip netip.Addr) netip.Addr {
	for _, a := range []netip.Addr{h.addr, h.other} {
		if a.IsValid() && a.Is4() == ip.Is4() {
			return a
		}
	}
	return netip.Addr{}
}

// decision is what becomes of one container, and how that came about.
type decision struct {
	facts    *facts
	home     home
	instance *registry.Instance
	// hidden is what is registered in place of an instance where there is none:
	// the container as one that asks. It is nil if it can't ask anybody.
	hidden  *registry.Instance
	refusal *Refusal
	// notOurs says that another rack's agent registers the container, or none.
	notOurs bool
	choices []Choice
	// given is what the service's name was made of.
	given   string
	notes   []string
	unnoted int
}

// decide says what a container should look like in the registry. It looks at
// nothing but its arguments.
func decide(f *facts, h home) *decision {
	d := decideInstance(f, h)
	if d.instance == nil && f.running() {
		d.hidden = asClient(f, h)
	}
	return d
}

func decideInstance(f *facts, h home) *decision {
	d := &decision{facts: f, home: h}
	if !f.running() {
		d.refuse(ReasonNotRunning, "its state is %q", f.status)
		return d
	}
	if f.imageGone {
		// To take its labels for its own would let in any image that was removed
		// soon enough; without them it had a name that nobody asked for.
		d.refuse(ReasonImage, "its image %s is gone, so that the container's labels can't be told from the image's: "+
			"create it anew from an image that is there, or let all labels count, see --image-labels", registry.Quote(f.imageID))
		return d
	}
	for _, source := range f.disowned {
		if f.copied {
			d.note("%s: comes from the image, which was made of a container of rackdns's (docker commit), and never counts", source)
			continue
		}
		d.note("%s: comes from the image, or says just what the image says, and doesn't count; see --image-labels", source)
	}
	if d.leftOut() {
		return d
	}
	i := &registry.Instance{
		ID:       shortID(f.id),
		Node:     h.node,
		Release:  d.release(),
		Image:    clean(f.image, maxText),
		Started:  f.started,
		Restarts: f.restarts,
		Status:   f.status,
		Host:     h.addr,
		Tags:     d.tags(),
	}
	i.Ports = d.ports()
	if !d.identify(i) {
		return d
	}
	if !d.reach(i) {
		return d
	}
	i.Aliases = d.aliases(i)
	d.health(i)
	i.Weight = d.number("rackdns.weight", registry.DefaultWeight, registry.MinWeight, registry.MaxWeight)
	i.Priority = d.number("rackdns.priority", 0, 0, 65535)
	i.Answers = d.number("rackdns.answers", 0, 1, registry.MaxAnswers)
	i.Address = d.address()
	i.Resource = d.resource(i.Service)
	i.Links, i.Connect = d.links(), d.connects()
	d.settle(i)
	return d
}

// settle makes sure that what was decided can be registered.
func (d *decision) settle(i *registry.Instance) {
	if err := i.Check(); err != nil {
		d.refuse(ReasonInvalid, "%s", err)
		return
	}
	if _, err := registry.Encode(i); err != nil {
		d.refuse(ReasonTooLarge, "its labels and ports make too much: %s", err)
		return
	}
	d.instance = i
}

func (d *decision) refuse(r Reason, format string, args ...any) {
	d.refusal = &Refusal{
		ID:        shortID(d.facts.id),
		Container: d.facts.name,
		Reason:    r,
		Detail:    fmt.Sprintf(format, args...),
	}
}

func (d *decision) choose(field, value, source string, overruled ...string) {
	d.choices = append(d.choices, Choice{Field: field, Value: value, Source: source, Overruled: overruled})
}

// note records something that somebody should know, such as a label that
// doesn't count. A container with thousands of bad labels fills no log.
func (d *decision) note(format string, args ...any) {
	if len(d.notes) == maxNotes {
		d.unnoted++
		return
	}
	d.notes = append(d.notes, fmt.Sprintf(format, args...))
}

// remarks returns all notes.
func (d *decision) remarks() []string {
	if d.unnoted == 0 {
		return d.notes
	}
	return append(slices.Clip(d.notes), fmt.Sprintf("and %d more like these", d.unnoted))
}

// leftOut decides whether the container is meant to have no name.
func (d *decision) leftOut() bool {
	l := d.facts.labels
	if v, ok := l["rackdns.ignore"]; ok {
		if truthy(v) {
			d.refuse(ReasonIgnored, "label rackdns.ignore=%s", registry.Quote(v))
			return true
		}
	} else if v, source := d.registrator("SERVICE_IGNORE"); v != "" {
		d.refuse(ReasonIgnored, "%s=%s", source, registry.Quote(v))
		return true
	}
	if v := l["com.docker.compose.oneoff"]; strings.EqualFold(v, "true") {
		d.refuse(ReasonOneOff, "label com.docker.compose.oneoff=%s: it was started by `docker compose run`", registry.Quote(v))
		return true
	}
	if v := l["convox.type"]; v != "" && !strings.EqualFold(v, "service") {
		d.refuse(ReasonProcessType, "label convox.type=%s: only services have a name", registry.Quote(v))
		return true
	}
	return false
}

// truthy takes everything for a yes that isn't a no: who sets a label
// `ignore` to nothing, or to "please", means it.
func truthy(v string) bool {
	switch strings.ToLower(strings.TrimSpace(v)) {
	case "0", "f", "false", "n", "no", "off":
		return false
	}
	return true
}

func (d *decision) release() string {
	const label = "convox.release"
	v := d.facts.labels[label]
	if v == "" {
		return ""
	}
	if v != clean(v, registry.MaxLabel) {
		d.note("label %s=%s: not a release of at most %d plain characters; left empty", label, registry.Quote(v), registry.MaxLabel)
		return ""
	}
	d.choose("release", v, "label "+label)
	return v
}

// health decides what the registry says of the container's health.
func (d *decision) health(i *registry.Instance) {
	const label = "rackdns.health"
	i.Health = d.facts.health
	v := d.facts.labels[label]
	switch {
	case v == "":
	case v == "ignore":
		d.choose("health", "ignored", "label "+label)
		i.Health = ""
	case v == "require" && i.Health == "":
		d.choose("health", registry.HealthStarting, "label "+label)
		d.note("label rackdns.health=require: there is no health check, so it is not serving until it has one")
		i.Health = registry.HealthStarting
	case v == "require":
		d.choose("health", i.Health, "label "+label)
	default:
		d.note("label %s=%s: neither require nor ignore; not counted", label, registry.Quote(v))
	}
}

// number reads a label that holds a number in a range.
func (d *decision) number(label string, fallback, least, most int) int {
	v, ok := d.facts.labels[label]
	if !ok || v == "" {
		return fallback
	}
	n, err := strconv.ParseUint(strings.TrimSpace(v), 10, 31)
	if err != nil || int(n) < least || int(n) > most {
		instead := "not counted"
		if fallback >= least {
			instead = strconv.Itoa(fallback) + " is used"
		}
		d.note("label %s=%s: not a number from %d to %d; %s", label, registry.Quote(v), least, most, instead)
		return fallback
	}
	d.choose(strings.TrimPrefix(label, "rackdns."), strconv.FormatUint(n, 10), "label "+label)
	return int(n)
}

// address reads which kind of endpoint is forced.
func (d *decision) address() string {
	const label = "rackdns.address"
	switch v := d.facts.labels[label]; v {
	case "", "auto":
		return registry.AddressAuto
	case registry.AddressHost, registry.AddressContainer:
		d.choose("address", v, "label "+label)
		return v
	default:
		d.note("label %s=%s: neither host nor container; not counted", label, registry.Quote(v))
		return registry.AddressAuto
	}
}

// tags reads the tags from labels and from registrator's list; a label wins.
func (d *decision) tags() map[string]string {
	const prefix = "rackdns.tags."
	tags := map[string]string{}
	list, source := d.registrator("SERVICE_TAGS")
	for entry := range strings.SplitSeq(list, ",") {
		key, value, _ := strings.Cut(strings.TrimSpace(entry), "=")
		d.tag(tags, source, key, value)
	}
	for _, key := range withPrefix(d.facts.labels, prefix) {
		label := prefix + key
		d.tag(tags, "label "+printable(label), key, d.facts.labels[label])
	}
	if len(tags) == 0 {
		return nil
	}
	return tags
}

func (d *decision) tag(tags map[string]string, source, key, value string) {
	_, known := tags[key]
	switch {
	case key == "":
	case key != clean(key, maxTagKey) || value != clean(value, maxTagValue):
		d.note("%s: a tag is at most %d plain characters, its value %d; left out", source, maxTagKey, maxTagValue)
	case len(tags) == maxTags && !known:
		d.note("%s: more than %d tags; left out", source, maxTags)
	default:
		tags[key] = value
	}
}

// clean returns s without what could garble a log or a terminal, and cut.
func clean(s string, most int) string {
	s = strings.Map(func(r rune) rune {
		if strconv.IsPrint(r) && r != '\uFFFD' {
			return r
		}
		return '?'
	}, s)
	if len(s) > most {
		s = strings.ToValidUTF8(s[:most], "")
	}
	return s
}

// sameInstance reports whether two instances are the same but for the time
// when they were observed.
func sameInstance(a, b *registry.Instance) bool {
	if a == nil || b == nil {
		return a == b
	}
	x, y := *a, *b
	x.Observed, y.Observed = time.Time{}, time.Time{}
	return reflect.DeepEqual(&x, &y)
}
