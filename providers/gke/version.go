package gke

import (
	"context"
	"slices"
	"strconv"
	"strings"

	"cloud.google.com/go/container/apiv1/containerpb"

	"github.com/rekindle-dev/rekindle/internal/fault"
	"github.com/rekindle-dev/rekindle/providers"
)

// resolve asks GKE which of its versions the wanted one is, so that the same one is asked for again when the
// request has to be sent again.
func (j *making) resolve(ctx context.Context) (string, error) {
	return j.resolveVersion(ctx, j.api, j.at, j.spec.Version)
}

func (p *Provider) resolveVersion(ctx context.Context, a *api, at place, wanted string) (string, error) {
	config, err := patiently(ctx, func(ctx context.Context) (*containerpb.ServerConfig, error) { return a.serverConfig(ctx, at) })
	if err != nil {
		return "", told(err, at, "ask for the versions of "+at.location)
	}
	standard, valid := versionsOf(config, channelOf(p.settings.Channel), wanted == "")
	wanted = strings.TrimPrefix(wanted, "v")
	if wanted == "" || providers.Fits(standard, wanted) {
		return standard, nil
	}
	for _, version := range valid { // newest first
		if providers.Fits(version, wanted) {
			return version, nil
		}
	}
	return "", fault.New(fault.Usage, "GKE has no Kubernetes %s in %s; it has %s", wanted, channelName(p.settings.Channel), strings.Join(minors(valid), ", ")).
		On("spec.kubernetes.version").WithHint("set spec.kubernetes.version to one of those, or another channel; gcloud container get-server-config --location %s --project %s lists all", at.location, at.project)
}

func channelName(channel string) string {
	if channel == "" {
		return "any channel but extended"
	}
	return "the channel " + channel
}

// versionsOf gives the default and all versions of a channel. Without a channel it is regular when no version is
// wanted, and whatever channel has the version otherwise: but extended, into which GKE puts only clusters that name it.
func versionsOf(config *containerpb.ServerConfig, channel containerpb.ReleaseChannel_Channel, latest bool) (standard string, valid []string) {
	if channel == noChannel && latest {
		channel = containerpb.ReleaseChannel_REGULAR
	}
	standard = config.GetDefaultClusterVersion()
	for _, one := range config.GetChannels() {
		switch {
		case channel == one.GetChannel():
			return one.GetDefaultVersion(), one.GetValidVersions()
		case channel == noChannel && one.GetChannel() != containerpb.ReleaseChannel_EXTENDED:
			valid = append(valid, one.GetValidVersions()...)
		}
	}
	valid = append(valid, config.GetValidMasterVersions()...)
	slices.SortStableFunc(valid, func(a, b string) int {
		switch {
		case older(a, b):
			return 1
		case older(b, a):
			return -1
		}
		return 0
	})
	return standard, slices.Compact(valid)
}

// minors are the versions without their patches.
func minors(versions []string) []string {
	var list []string
	for _, version := range versions {
		parts := strings.SplitN(version, ".", 3)
		list = append(list, strings.Join(parts[:min(2, len(parts))], "."))
	}
	return slices.Compact(list)
}

// older compares two versions as far as both go.
func older(a, b string) bool {
	x, y := numbers(a), numbers(b)
	for i := range min(len(x), len(y)) {
		if x[i] != y[i] {
			return x[i] < y[i]
		}
	}
	return false
}

// numbers of "v1.37.2-gke.1014000" are 1, 37, 2, 1014000.
func numbers(version string) (list []int) {
	for _, part := range strings.FieldsFunc(version, func(r rune) bool { return r < '0' || r > '9' }) {
		n, err := strconv.Atoi(part)
		if err != nil {
			return list
		}
		list = append(list, n)
	}
	return list
}
