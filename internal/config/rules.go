package config

import "regexp"

var (
	dnsLabel     = regexp.MustCompile(`^[a-z0-9]([-a-z0-9]*[a-z0-9])?$`)
	objectName   = regexp.MustCompile(`^[a-z0-9]([-a-z0-9.]*[a-z0-9])?$`)
	k8sVersion   = regexp.MustCompile(`^v?1\.[0-9]+(\.[0-9]+)?(-[-a-z0-9.]+)?$`)
	digest       = regexp.MustCompile(`^sha256:[0-9a-f]{64}$`)
	commit       = regexp.MustCompile(`^[0-9a-f]{40}$`)
	environment  = regexp.MustCompile(`^[A-Za-z_][A-Za-z0-9_]*$`)
	entryName    = regexp.MustCompile(`^[-._A-Za-z0-9]+$`)
	relativePath = regexp.MustCompile(`^[^/]`)
	cidrOrSize   = regexp.MustCompile(`^([0-9.]+)?/[0-9]{1,2}$`)
	secretType   = regexp.MustCompile(`^[A-Za-z0-9]([-._/A-Za-z0-9]*[A-Za-z0-9])?$`)
	gkeName      = regexp.MustCompile(`^[a-z]([-a-z0-9]*[a-z0-9])?$`)
	gkeProject   = regexp.MustCompile(`^([a-z0-9.-]+:)?[a-z][-a-z0-9]{4,28}[a-z0-9]$`)
	gkeLocation  = regexp.MustCompile(`^[a-z]+-[a-z]+[0-9]+(-[a-z])?$`)
	gkeZone      = regexp.MustCompile(`^[a-z]+-[a-z]+[0-9]+-[a-z]$`)
	gkeLabel     = regexp.MustCompile(`^[a-z][-_a-z0-9]{0,62}$`)
	gkeLabelText = regexp.MustCompile(`^[-_a-z0-9]{0,63}$`)
	cronFields   = regexp.MustCompile(`^\S+( +\S+){4}$`)
)

// MaxName is the length of the longest name of a cluster. It fits every provider: GKE takes 40 characters.
const MaxName = 40

// NameRule tells a person what the name of a cluster must be, wherever it is given.
const NameRule = "at most 40 lower-case letters, digits and -, beginning and ending with a letter or digit"

// IsName says whether a cluster may have the name.
func IsName(name string) bool { return len(name) <= MaxName && dnsLabel.MatchString(name) }

// rule is what a field demands beyond its type. The loader enforces it and the JSON Schema tells it, so
// that an editor and the command cannot disagree.
type rule struct {
	pattern *regexp.Regexp // of a string, or of each string of a list or map
	length  int            // the longest string; 0 is any
	enum    []string
	says    string         // what is wanted, for a person
	keys    *regexp.Regexp // of the keys of a map
	keysSay string
	min     int // of a number; no bounds when max is 0
	max     int
	filled  bool // must not be empty
	literal bool // ${NAME} is not replaced
}

// elements is the rule of each element of a list or map.
func (r rule) elements() rule {
	return rule{pattern: r.pattern, length: r.length, enum: r.enum, says: r.says, literal: r.literal,
		filled: r.pattern != nil && !r.pattern.MatchString("")}
}

// ruleOf gives the rule of a field of a type.
func ruleOf(typ, field string) rule {
	name := rule{pattern: dnsLabel, length: MaxName, says: NameRule, filled: true}
	switch typ + "." + field {
	case "Metadata.Name":
		return name
	case "Release.Name":
		return rule{pattern: dnsLabel, length: 53, says: "the name of a Helm release: at most 53 lower-case letters, digits and -", filled: true}
	case "Release.Namespace", "Flux.Namespace", "ArgoCD.Namespace", "Key.Namespace", "Check.Namespace", "StateObject.Namespace":
		return rule{pattern: dnsLabel, length: 63, says: "a namespace: at most 63 lower-case letters, digits and -"}
	case "Flux.Name", "Flux.ServiceAccountName":
		return rule{pattern: objectName, length: 63, says: "the name of an object: at most 63 lower-case letters, digits, dots and -"}
	case "Key.Name", "Auth.Secret":
		return rule{pattern: objectName, length: 253, says: "the name of a Secret: lower-case letters, digits, dots and -", filled: true}
	case "Key.Type":
		return rule{pattern: secretType, length: 253, says: "the type of a Secret, like kubernetes.io/dockerconfigjson"}
	case "Release.Digest", "Flux.Digest", "ArgoCD.Digest":
		return rule{pattern: digest, says: "sha256: and 64 hex digits"}
	case "Ref.Commit":
		return rule{pattern: commit, says: "a full commit: 40 hex digits", filled: true}
	case "Kubernetes.Version":
		return rule{pattern: k8sVersion, says: `a version, like "1.37" or "1.37.2"`}
	case "ClusterSpec.Variables":
		return rule{keys: environment, keysSay: "letters, digits and _, not beginning with a digit", literal: true}
	case "KeySource.Env":
		return rule{keys: entryName, keysSay: "letters, digits, dots, - and _", pattern: environment, says: "the name of an environment variable", filled: true}
	case "ValueSource.Env":
		return rule{pattern: environment, says: "the name of an environment variable", filled: true}
	case "KeySource.Key":
		return rule{pattern: entryName, says: "the name of an entry of a Secret: letters, digits, dots, - and _"}
	case "Kind.Nodes":
		return rule{min: 1, max: 100}
	case "Kwok.Nodes":
		return rule{min: 1, max: 1000}
	case "Check.Status":
		return rule{min: 100, max: 599}
	case "Migration.Hold":
		return rule{pattern: entryName, length: 63, says: "the name of an application, as in the label app.kubernetes.io/name", filled: true}
	case "Keep.Last":
		return rule{min: 1, max: 100_000}
	case "State.Schedule":
		return rule{pattern: cronFields, says: `five cron fields, like "0 */6 * * *"`}
	case "State.VolumeSnapshots":
		return rule{enum: []string{VolumeSnapshotsAuto, "never"}, says: "auto or never"}
	case "StackRef.File", "Release.ValuesFiles":
		return rule{pattern: relativePath, says: "a path relative to the document", filled: typ == "StackRef"}
	case "Kind.Config":
		return rule{pattern: relativePath, says: "a path relative to the document"}
	case "Source.URL", "Existing.Context", "State.Repository", "Release.Chart", "Ref.Branch", "Ref.Tag",
		"KeySource.File", "KeySource.Exec", "Traffic.Exec", "KeySource.Repo", "ValueSource.File", "ValueSource.Exec", "Check.HTTP", "Check.Job",
		"StateObject.Kind", "StateObject.APIVersion", "Taint.Key":
		return rule{filled: true}
	}
	return gkeRule(typ + "." + field)
}

func gkeRule(field string) rule {
	count := rule{min: 0, max: 15_000}
	switch field {
	case "GKE.Project":
		return rule{pattern: gkeProject, says: "the ID of a Google Cloud project, like acme-prod", filled: true}
	case "GKE.Location":
		return rule{pattern: gkeLocation, says: "a region like europe-west6 or a zone like europe-west6-a", filled: true}
	case "GKE.NodeLocations", "GKENodePool.Locations":
		return rule{pattern: gkeZone, says: "a zone like europe-west6-a"}
	case "GKE.Channel":
		return rule{enum: []string{"rapid", "regular", "stable", "extended"}, says: "rapid, regular, stable or extended"}
	case "GKE.Labels":
		return rule{keys: gkeLabel, keysSay: "at most 63 lower-case letters, digits, - and _, beginning with a letter",
			pattern: gkeLabelText, says: "at most 63 lower-case letters, digits, - and _"}
	case "GKERanges.Pods", "GKERanges.Services":
		return rule{pattern: cidrOrSize, says: "a range like 10.8.0.0/14 or a size like /14"}
	case "GKENodePool.Name":
		return rule{pattern: gkeName, length: MaxName, says: "at most 40 lower-case letters, digits and -, beginning with a letter", filled: true}
	case "GKENodePool.Nodes":
		return rule{min: 1, max: 1000}
	case "GKENodePool.DiskSizeGB":
		return rule{min: 10, max: 65_536}
	case "GKEAutoscaling.Min", "GKEAutoscaling.Max", "GKEAutoscaling.TotalMin", "GKEAutoscaling.TotalMax":
		return count
	case "GKEAutoscaling.Policy":
		return rule{enum: []string{"balanced", "any"}, says: "balanced or any"}
	case "Taint.Effect":
		return rule{enum: []string{"NoSchedule", "PreferNoSchedule", "NoExecute"}, says: "NoSchedule, PreferNoSchedule or NoExecute", filled: true}
	case "GKENetwork.CIDR":
		return rule{filled: true}
	}
	return rule{}
}

// union is a type of which one field alone is written.
type union struct {
	members  []string
	required bool
}

func (u union) wants() string {
	if u.required {
		return "exactly one"
	}
	return "at most one"
}

// unionOf gives the alternatives of a type; none when it is no union.
func unionOf(typ string) union {
	switch typ {
	case "Provider":
		return union{[]string{"existing", "gke", "kind", "kwok"}, true}
	case "Reconciler":
		return union{[]string{"argocd", "flux"}, false}
	case "Traffic":
		return union{[]string{"exec", "externalDNS", "manual"}, false}
	case "Ref":
		return union{[]string{"branch", "commit", "tag"}, false}
	case "KeySource":
		return union{[]string{"env", "exec", "file", "repo"}, true}
	case "ValueSource":
		return union{[]string{"env", "exec", "file"}, true}
	case "Check":
		return union{[]string{"http", "job"}, true}
	}
	return union{}
}
