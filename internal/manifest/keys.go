package manifest

import (
	"slices"
	"strings"
)

// Fate is what becomes of a key.
type Fate uint8

const (
	// Done keys do here what they do on a rack of Convox.
	Done Fate = iota + 1
	// Refused keys are an error that says what to do instead: without them the
	// app would be another one.
	Refused
	// Ignored keys have no effect on a plain host.
	Ignored
)

func (f Fate) String() string {
	return [...]string{"unknown", "done", "refused", "ignored"}[f]
}

// Key is a key of Convox's manifest.
type Key struct {
	// Path is where it stands: * is any name.
	Path string
	Fate Fate
	// Versions are those of the manifest that have it, such as "2, 3".
	Versions string
	// Example is a value in YAML's flow style.
	Example string
	// Note says of a done key what it does, of a refused one what to do
	// instead, and of an ignored one why.
	Note string
}

const (
	noBalancer = "no load balancer is made here; names lead to the instances themselves"
	noScaling  = "nothing scales by itself here; the least number runs"
	noCloud    = "belongs to the services of a cloud"
	oneHost    = "there is only this host to choose from"
)

// keys is the one table of them, which parser and documentation go by.
var keys = []Key{
	{"appSettings", Ignored, "3", "{awsLogs: {cwRetention: 31}}", noCloud},
	{"balancers", Ignored, "3", "{main: {service: web, ports: {80: 3000}}}", noBalancer},
	{"budget", Ignored, "3", "{monthlyCapUsd: 500}", noCloud},
	{"configs", Refused, "3", "[{id: motd, value: hello}]", "put the file into the image, or mount it with a service's volumes"},
	{"environment", Done, "2, 3", "[LOG_LEVEL=info, SECRET]", "variables of every service: a list or a map; one without a value has to come from the app's environment; `*` is all of that"},
	{"labels", Done, "3", "{team: shop}", "labels of every service's containers; the service's own win"},
	{"params", Ignored, "2, 3", "{Size: large}", "parameters of a cloud's templates"},
	{"resources", Done, "2, 3", "{db: {type: postgres}}", "databases and caches of the app, each a container with a volume"},
	{"resources.*.options", Done, "2, 3", "{storage: 20}", "those that `rackdns resources options TYPE` lists"},
	{"resources.*.tags", Ignored, "2", "{team: shop}", noCloud},
	{"resources.*.type", Done, "2, 3", "redis", "efs, mariadb, memcached, mysql, postgres or redis"},
	{"services", Done, "2, 3", "{web: {image: example/web}}", "what runs"},
	{"services.*.accessControl", Ignored, "3", "{awsPodIdentity: {policyArns: []}}", noCloud},
	{"services.*.accessControlAllowOrigin", Ignored, "2", "https://example.org", noBalancer},
	{"services.*.agent", Done, "2, 3", "true", "one instance on this host, reached at its own port numbers; the old one stops before a new one starts"},
	{"services.*.agent.enabled", Done, "2", "true", "as `agent`"},
	{"services.*.agent.ports", Done, "2", "[8125/udp]", "as `ports`"},
	{"services.*.annotations", Done, "3", "[example.org/owner=shop]", "labels of its containers; `labels` win"},
	{"services.*.build", Done, "2, 3", "./web", "directory to build; `.` where there is neither `build` nor `image`"},
	{"services.*.build.args", Done, "2, 3", "[VERSION=1]", "arguments of the build"},
	{"services.*.build.dockerfile", Done, "", "Dockerfile.web", "as `manifest`"},
	{"services.*.build.manifest", Done, "2, 3", "Dockerfile.web", "file below `path` that says how"},
	{"services.*.build.path", Done, "2, 3", "web", "the directory"},
	{"services.*.build.target", Done, "", "run", "stage to build"},
	{"services.*.certificate", Ignored, "3", "{duration: 2160h}", noBalancer},
	{"services.*.command", Done, "2, 3", "bin/web --name 'my shop'", "replaces the image's: a list of words, or a string, see below"},
	{"services.*.configMounts", Refused, "3", "[{id: motd, dir: /etc, filename: motd}]", "put the file into the image, or mount it with volumes"},
	{"services.*.deployment", Done, "2, 3", "{minimum: 50, maximum: 200}", "how instances are replaced"},
	{"services.*.deployment.maximum", Done, "2, 3", "100", "how many percent of them may run meanwhile, 100 to 200; 100 has an old one stop before a new one starts"},
	{"services.*.deployment.minimum", Done, "2, 3", "0", "how many percent of them go on meanwhile, 0 to 100"},
	{"services.*.disableHostUsers", Ignored, "3", "true", "the engine's own userns-remap decides"},
	{"services.*.dnsConfig", Done, "3", "{ndots: 2}", "the resolver of its containers"},
	{"services.*.dnsConfig.ndots", Done, "3", "2", "from how many dots on a name is asked as it is first"},
	{"services.*.domain", Ignored, "2, 3", "shop.example.org", noBalancer},
	{"services.*.drain", Done, "2, 3", "30", "seconds that it has for its connections when it is told to stop; the longer one of this and `termination.grace`"},
	{"services.*.entrypoint", Done, "", "[/bin/run, --safe]", "replaces the image's, in the forms of `command`"},
	{"services.*.environment", Done, "2, 3", "{DEBUG: false, SECRET: }", "as above, for this service"},
	{"services.*.grpcHealthEnabled", Done, "3", "true", "its health check is gRPC's own, at its port"},
	{"services.*.health", Done, "2, 3", "/check", "path that answers 200 to 399 when it is ready, which keeps it out of DNS until then; `false` is none, not even the image's; `true` is `/`"},
	{"services.*.health.disable", Done, "3", "true", "as `health: false`"},
	{"services.*.health.grace", Done, "2, 3", "10", "seconds after its start in which a failure doesn't count"},
	{"services.*.health.interval", Done, "2, 3", "5", "seconds between two checks"},
	{"services.*.health.path", Done, "2, 3", "/check", "the path"},
	{"services.*.health.timeout", Done, "2, 3", "3", "seconds for an answer"},
	{"services.*.idleTimeout", Ignored, "2", "60", noBalancer},
	{"services.*.image", Done, "2, 3", "example/web:1", "image to run; `build` beside it has no effect"},
	{"services.*.imagePullSecrets", Refused, "3", "[{registry: example.org}]", "log in with docker login"},
	{"services.*.ingressAnnotations", Ignored, "3", "[nginx.ingress.kubernetes.io/limit-rpm=10]", noBalancer},
	{"services.*.init", Done, "2, 3", "true", "a small init is its first process"},
	{"services.*.initContainer", Refused, "3", "{command: bin/migrate}", "do it at the begin of the service's command"},
	{"services.*.internal", Done, "2, 3", "true", "its ports are reached on Docker networks only, and not published"},
	{"services.*.internalRouter", Ignored, "3", "true", noBalancer},
	{"services.*.labels", Done, "3", "{team: shop}", "labels of its containers"},
	{"services.*.lifecycle", Refused, "3", "{preStop: sleep 10}", "do it in the service's command, which gets SIGTERM"},
	{"services.*.links", Done, "2", "[web]", "services of the app whose URL it is given"},
	{"services.*.liveness", Done, "3", "{path: /live}", "a check besides `health`: a container that fails it is restarted"},
	{"services.*.liveness.failureThreshold", Done, "3", "3", "after how many failures, 1 to 5"},
	{"services.*.liveness.grace", Done, "3", "10", "seconds after its start in which a failure doesn't count"},
	{"services.*.liveness.interval", Done, "3", "5", "seconds between two checks; the shorter one of this and `health.interval`"},
	{"services.*.liveness.path", Done, "3", "/live", "path that answers 200 to 399 while it lives"},
	{"services.*.liveness.successThreshold", Ignored, "3", "1", "one success is enough, as on other racks"},
	{"services.*.liveness.timeout", Done, "3", "5", "seconds for an answer"},
	{"services.*.nlb", Ignored, "2", "[{port: 8443}]", noBalancer},
	{"services.*.nodeAffinityLabels", Ignored, "3", "[{label: a, value: b, weight: 1}]", oneHost},
	{"services.*.nodeSelectorLabels", Ignored, "3", "{a: b}", oneHost},
	{"services.*.policies", Ignored, "2", "[AmazonS3ReadOnlyAccess]", noCloud},
	{"services.*.port", Done, "2, 3", "https:3001", "the port that links lead to: a number, `SCHEME:NUMBER`, or a map"},
	{"services.*.port.port", Done, "2, 3", "3001", "its number"},
	{"services.*.port.scheme", Done, "2, 3", "https", "its scheme, http unless given"},
	{"services.*.ports", Done, "3", "[5000, 53/udp]", "further ports: `NUMBER[/tcp|/udp]`, or maps"},
	{"services.*.ports.port", Done, "3", "53", "the number of one"},
	{"services.*.ports.protocol", Done, "3", "udp", "tcp or udp"},
	{"services.*.privileged", Done, "2, 3", "true", "the container has the host's devices and all capabilities"},
	{"services.*.resources", Done, "2, 3", "[db, 'db:DATABASE_URI']", "resources of the app whose variables it is given"},
	{"services.*.scale", Done, "2, 3", "2", "number of instances, a range of which the least runs, or a map"},
	{"services.*.scale.autoscale", Ignored, "3", "{cpu: {threshold: 70}}", noScaling},
	{"services.*.scale.cooldown", Ignored, "2", "60", noScaling},
	{"services.*.scale.count", Done, "2, 3", "1-3", "the number or the range"},
	{"services.*.scale.count.max", Ignored, "2, 3", "3", noScaling},
	{"services.*.scale.count.min", Done, "2, 3", "1", "the number"},
	{"services.*.scale.cpu", Done, "2, 3", "256", "its weight among containers that want more than there is; 1024 is the usual"},
	{"services.*.scale.gpu", Refused, "3", "1", "containers are given no GPU here; run the service on a host by docker run --gpus, its name is found all the same"},
	{"services.*.scale.keda", Ignored, "3", "{triggers: []}", noScaling},
	{"services.*.scale.limit", Done, "3", "{cpu: 500, memory: 1024}", "what an instance can have at most"},
	{"services.*.scale.limit.cpu", Done, "3", "500", "thousandths of a processor"},
	{"services.*.scale.limit.memory", Done, "3", "1024", "megabytes of memory; `scale.memory` is kept for it then"},
	{"services.*.scale.max", Ignored, "3", "3", noScaling},
	{"services.*.scale.memory", Done, "2, 3", "512", "megabytes of memory that an instance can have"},
	{"services.*.scale.min", Done, "3", "1", "as `count`"},
	{"services.*.scale.targets", Ignored, "2, 3", "{cpu: 70}", noScaling},
	{"services.*.scale.vpa", Ignored, "3", "{updateMode: Off}", noScaling},
	{"services.*.securityContext", Refused, "3", "{runAsUser: 1000}", "say the user in the Dockerfile; the engine's defaults hold for capabilities and seccomp"},
	{"services.*.singleton", Done, "2, 3", "true", "no second one at a time, also while it is replaced; without ports it may end with exit code 0, see below"},
	{"services.*.startupProbe", Refused, "3", "{path: /started}", "give the time that a start may take as health.grace"},
	{"services.*.sticky", Ignored, "2, 3", "true", noBalancer},
	{"services.*.termination", Done, "2, 3", "{grace: 45}", "how it ends"},
	{"services.*.termination.grace", Done, "2, 3", "45", "seconds until it is killed when it is told to stop"},
	{"services.*.test", Ignored, "2, 3", "make test", "only convox test runs it"},
	{"services.*.timeout", Ignored, "3", "180", noBalancer},
	{"services.*.tls", Ignored, "3", "{redirect: true}", noBalancer},
	{"services.*.volumeOptions", Done, "3", "[{emptyDir: {id: tmp, mountPath: /tmp/x}}]", "volumes in a longer form"},
	{"services.*.volumeOptions.awsEfs", Done, "3", "{id: data, accessMode: ReadWriteMany, mountPath: /data}", "the named volume `id` of the app"},
	{"services.*.volumeOptions.awsEfs.accessMode", Done, "3", "ReadOnlyMany", "ReadOnlyMany can't write"},
	{"services.*.volumeOptions.awsEfs.id", Done, "3", "data", "its name"},
	{"services.*.volumeOptions.awsEfs.mountPath", Done, "3", "/data", "where it is in the container"},
	{"services.*.volumeOptions.awsEfs.storageClass", Ignored, "3", "efs-sc", noCloud},
	{"services.*.volumeOptions.awsEfs.volumeHandle", Ignored, "3", "'fs-1::fsap-1'", noCloud},
	{"services.*.volumeOptions.emptyDir", Done, "3", "{id: tmp, mountPath: /tmp/x}", "a directory that is empty at each start"},
	{"services.*.volumeOptions.emptyDir.id", Done, "3", "tmp", "its name"},
	{"services.*.volumeOptions.emptyDir.medium", Done, "3", "Memory", "Memory, and nothing else"},
	{"services.*.volumeOptions.emptyDir.mountPath", Done, "3", "/tmp/x", "where it is in the container"},
	{"services.*.volumes", Done, "2, 3", "[/data, 'files:/files', '/etc/hosts:/hosts:ro']", "what is mounted, see below"},
	{"services.*.whitelist", Refused, "3", "10.0.0.0/8", "nothing stands before the service that could keep others out: make it internal, or use the host's firewall"},
	{"timers", Done, "2, 3", "{cleanup: {service: web, schedule: '0 3 * * *', command: bin/cleanup}}", "commands that run at their times, in UTC"},
	{"timers.*.annotations", Done, "3", "[example.org/owner=shop]", "labels of its containers"},
	{"timers.*.command", Done, "2, 3", "bin/cleanup", "what runs, in the forms of a service's; the service's own unless given"},
	{"timers.*.concurrency", Done, "3", "forbid", "whether one may start while the last one runs: allow, forbid or replace (it ends the last one)"},
	{"timers.*.parallelCount", Done, "3", "1", "how many run each time"},
	{"timers.*.policies", Ignored, "2", "[AmazonS3ReadOnlyAccess]", noCloud},
	{"timers.*.schedule", Done, "2, 3", "'0 3 * * *'", "five fields of cron; a sixth is the year, `*`"},
	{"timers.*.service", Done, "2, 3", "web", "service whose image and environment it has"},
}

// Keys returns all keys of Convox's manifest, sorted by path.
func Keys() []Key { return slices.Clone(keys) }

// below is what the table has below a path, by the last part.
var keysBelow = func() map[string]map[string]*Key {
	all := map[string]map[string]*Key{}
	for n := range keys {
		parent, name := "", keys[n].Path
		if i := strings.LastIndexByte(name, '.'); i >= 0 {
			parent, name = name[:i], name[i+1:]
		}
		if all[parent] == nil {
			all[parent] = map[string]*Key{}
		}
		all[parent][name] = &keys[n]
	}
	return all
}()

// elsewhere are keys of Compose files that are easily taken for one of
// Convox's, and what to do instead.
var elsewhere = map[string]string{
	"cap_add":           "give the service privileged, or run it with Docker's own docker compose up",
	"container_name":    "containers are named by app and service",
	"cmd":               "want command",
	"depends_on":        "services start in the order of the file; want links for their URLs",
	"env":               "want environment",
	"env_file":          "want rackdns up --env-file",
	"envs":              "want environment",
	"expose":            "want ports",
	"healthcheck":       "want health",
	"networks":          "all services are on the rack's network",
	"replicas":          "want scale",
	"stop_grace_period": "want termination.grace",
	"working_dir":       "say it in the Dockerfile",
}
