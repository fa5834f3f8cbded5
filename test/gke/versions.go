package gke

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"cloud.google.com/go/container/apiv1/containerpb"
	"google.golang.org/grpc/codes"

	"github.com/rekindle-dev/rekindle/providers/kwok"
)

// channels are the release channels, least mature first, with the number of GKE's build that is their default.
func channels() []struct {
	channel containerpb.ReleaseChannel_Channel
	build   int
} {
	return []struct {
		channel containerpb.ReleaseChannel_Channel
		build   int
	}{
		{containerpb.ReleaseChannel_RAPID, 1021000},
		{containerpb.ReleaseChannel_REGULAR, 1014000},
		{containerpb.ReleaseChannel_STABLE, 1007000},
		{containerpb.ReleaseChannel_EXTENDED, 1007000},
	}
}

// extendedOnly is a version that no channel but extended has any more.
const extendedOnly = "1.33.9-gke.1006000"

// versionOf gives GKE's name of a build.
func versionOf(build int) string {
	return fmt.Sprintf("%s-gke.%d", strings.TrimPrefix(kwok.KubernetesVersion, "v"), build)
}

// serverConfig is what GetServerConfig tells. Each channel has its default and those of more mature ones.
func serverConfig() *containerpb.ServerConfig {
	c := &containerpb.ServerConfig{
		DefaultImageType: "COS_CONTAINERD", ValidImageTypes: []string{"COS_CONTAINERD", "UBUNTU_CONTAINERD"},
	}
	for _, one := range channels() {
		version := versionOf(one.build)
		if one.channel == containerpb.ReleaseChannel_REGULAR {
			c.DefaultClusterVersion = version
		}
		if !slices.Contains(c.ValidMasterVersions, version) {
			c.ValidMasterVersions = append(c.ValidMasterVersions, version)
		}
		own := &containerpb.ServerConfig_ReleaseChannelConfig{Channel: one.channel, DefaultVersion: version, UpgradeTargetVersion: version}
		for _, other := range channels() {
			if other.build <= one.build && !slices.Contains(own.ValidVersions, versionOf(other.build)) {
				own.ValidVersions = append(own.ValidVersions, versionOf(other.build))
			}
		}
		if one.channel == containerpb.ReleaseChannel_EXTENDED {
			own.ValidVersions = append(own.ValidVersions, extendedOnly)
		}
		c.Channels = append(c.Channels, own)
	}
	c.ValidNodeVersions = c.ValidMasterVersions
	return c
}

// GetServerConfig tells the versions.
func (a api) GetServerConfig(_ context.Context, req *containerpb.GetServerConfigRequest) (*containerpb.ServerConfig, error) {
	if _, err := placeOf(req); err != nil {
		return nil, err
	}
	return serverConfig(), nil
}

// resolve gives the version and the channel of a new cluster.
func resolve(version string, channel *containerpb.ReleaseChannel) (string, *containerpb.ReleaseChannel, error) {
	config := serverConfig()
	valid, standard := config.GetValidMasterVersions(), config.GetDefaultClusterVersion()
	if channel == nil {
		channel = &containerpb.ReleaseChannel{Channel: containerpb.ReleaseChannel_REGULAR}
		// With a version, the most mature channel that has it.
		for _, one := range slices.Backward(config.GetChannels()) {
			if version != "" && one.GetChannel() != containerpb.ReleaseChannel_EXTENDED && match(version, one.GetDefaultVersion(), one.GetValidVersions()) != "" {
				channel.Channel = one.GetChannel()
				break
			}
		}
	}
	for _, one := range config.GetChannels() {
		if one.GetChannel() == channel.GetChannel() {
			valid, standard = one.GetValidVersions(), one.GetDefaultVersion()
		}
	}
	if found := match(version, standard, valid); found != "" {
		return found, channel, nil
	}
	return "", nil, failure(codes.InvalidArgument, "", "Master version %q is unsupported.", version)
}

// match finds the version that an alias means, the newest one where there are several.
func match(alias, standard string, valid []string) string {
	switch alias {
	case "", "-":
		return standard
	case "latest":
		return valid[0]
	}
	for _, version := range valid {
		if version == alias || strings.HasPrefix(version, alias+".") || strings.HasPrefix(version, alias+"-gke.") {
			return version
		}
	}
	return ""
}
