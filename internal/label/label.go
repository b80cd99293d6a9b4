// Package label has the names of the labels by which rackdns knows containers,
// volumes and networks again, and says what they do: those who write a label and
// those who read it have one name for it.
package label

// Prefix is that of all labels of rackdns.
const Prefix = "rackdns."

// What a container is. Anybody may write these.
const (
	// Rack says whose it is where several racks share an engine: agents of other
	// racks leave it alone. The rack's network has it, too.
	Rack      = Prefix + "rack"
	App       = Prefix + "app"
	Service   = Prefix + "service"
	Namespace = Prefix + "namespace"
	Links     = Prefix + "links"
	// Once says of a service that it has something to do, and ends then.
	Once   = Prefix + "once"
	Ignore = Prefix + "ignore"
	// Resource is the type of the resource that it is one of, ResourceName its
	// name.
	Resource     = Prefix + "resource"
	ResourceName = Prefix + "resource.name"
	Release      = "convox.release"
)

// UpPrefix is that of what nobody but rackdns writes. But for [UpImage], images
// have them only if they were made of a container (docker commit).
const UpPrefix = Prefix + "up."

// What rackdns has made, and for whom.
const (
	// UpRack is [Rack] on what `rackdns up` has made.
	UpRack = UpPrefix + "rack"
	// UpID is each container's own, whoever of rackdns has made it.
	UpID     = UpPrefix + "id"
	UpHash   = UpPrefix + "hash"
	UpNumber = UpPrefix + "number"
	// UpTimer is the schedule of a container that is started at its times, and
	// UpConcurrency what happens when it still runs then.
	UpTimer       = UpPrefix + "timer"
	UpConcurrency = UpPrefix + "timer.concurrency"
	// UpDirectory is the directory of the manifest.
	UpDirectory = UpPrefix + "directory"
	// UpImage is on images that rackdns has built, and says for what. Containers
	// have it from there, so it says nothing of them.
	UpImage = UpPrefix + "image"
	// UpVolume is what a volume that services mount is known by in its app: its
	// name, or SERVICE:/path.
	UpVolume = UpPrefix + "volume"
	// UpProgram marks a volume that holds this program.
	UpProgram = UpPrefix + "program"
)

// Marks are the labels by which a container is told from a copy of it, the best
// first: those that were made before there was an ID have another one of them.
func Marks() []string { return []string{UpID, UpHash, UpProgram} }

// Origin says what a container's labels prove.
type Origin uint8

const (
	// Foreign containers have no mark of ours.
	Foreign Origin = iota
	// Copied ones have it from their image, which was made of one of ours.
	Copied
	// Ours are those that rackdns has made.
	Ours
)

// OriginOf tells whether rackdns has made a container, from all of its labels
// and those of its image, which a container inherits: by the first of the marks
// that it has, [Marks] unless there are others.
func OriginOf(container, image map[string]string, marks ...string) Origin {
	if len(marks) == 0 {
		marks = Marks()
	}
	for _, mark := range marks {
		own, marked := container[mark]
		if !marked {
			continue
		}
		if inherited, ok := image[mark]; ok && inherited == own {
			return Copied
		}
		return Ours
	}
	return Foreign
}
