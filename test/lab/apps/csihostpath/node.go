package main

import (
	"context"
	"errors"
	"os"

	"github.com/container-storage-interface/spec/lib/go/csi"
	"golang.org/x/sys/unix"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
)

// mounter shows a folder at another place.
type mounter interface {
	mount(from, to string, readOnly bool) error
	unmount(at string) error
}

// kernel has Linux do it.
type kernel struct{}

func (kernel) mount(from, to string, readOnly bool) error {
	if err := unix.Mount(from, to, "", unix.MS_BIND, ""); err != nil || !readOnly {
		return err
	}
	return unix.Mount("", to, "", unix.MS_BIND|unix.MS_REMOUNT|unix.MS_RDONLY, "")
}

func (kernel) unmount(at string) error {
	if err := unix.Unmount(at, 0); err != nil && !errors.Is(err, unix.EINVAL) && !errors.Is(err, unix.ENOENT) {
		return err
	}
	return nil
}

func (s *server) NodeGetInfo(context.Context, *csi.NodeGetInfoRequest) (*csi.NodeGetInfoResponse, error) {
	return &csi.NodeGetInfoResponse{NodeId: s.node}, nil
}

func (s *server) NodeGetCapabilities(context.Context, *csi.NodeGetCapabilitiesRequest) (*csi.NodeGetCapabilitiesResponse, error) {
	return &csi.NodeGetCapabilitiesResponse{Capabilities: []*csi.NodeServiceCapability{{Type: &csi.NodeServiceCapability_Rpc{
		Rpc: &csi.NodeServiceCapability_RPC{Type: csi.NodeServiceCapability_RPC_SINGLE_NODE_MULTI_WRITER},
	}}}}, nil
}

func (s *server) NodePublishVolume(_ context.Context, req *csi.NodePublishVolumeRequest) (*csi.NodePublishVolumeResponse, error) {
	if req.GetVolumeId() == "" || req.GetTargetPath() == "" || req.GetVolumeCapability() == nil {
		return nil, missing("the volume, the place, or what it is to be able to do")
	}
	if err := mountable(req.GetVolumeCapability()); err != nil {
		return nil, err
	}
	if _, err := s.store.get(ofVolumes, req.GetVolumeId()); err != nil {
		return nil, failed(err)
	}
	at := req.GetTargetPath()
	s.mu.Lock()
	defer s.mu.Unlock()
	for other, volume := range s.published {
		if volume == req.GetVolumeId() && other != at && single(req.GetVolumeCapability()) {
			return nil, status.Errorf(codes.FailedPrecondition, "volume %s is for one pod, and is mounted at %s", volume, other)
		}
	}
	if err := os.MkdirAll(at, 0o750); err != nil {
		return nil, failed(err)
	}
	if err := s.mounts.unmount(at); err != nil { // asked again, it is mounted once
		return nil, failed(err)
	}
	if err := s.mounts.mount(s.store.data(ofVolumes, req.GetVolumeId()), at, req.GetReadonly()); err != nil {
		return nil, failed(err)
	}
	s.published[at] = req.GetVolumeId()
	return &csi.NodePublishVolumeResponse{}, nil
}

// single says whether one pod alone may have the volume.
func single(c *csi.VolumeCapability) bool {
	return c.GetAccessMode().GetMode() == csi.VolumeCapability_AccessMode_SINGLE_NODE_SINGLE_WRITER
}

func (s *server) NodeUnpublishVolume(_ context.Context, req *csi.NodeUnpublishVolumeRequest) (*csi.NodeUnpublishVolumeResponse, error) {
	if req.GetVolumeId() == "" || req.GetTargetPath() == "" {
		return nil, missing("the volume, or the place")
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if err := s.mounts.unmount(req.GetTargetPath()); err != nil {
		return nil, failed(err)
	}
	if err := os.Remove(req.GetTargetPath()); err != nil && !errors.Is(err, os.ErrNotExist) {
		return nil, failed(err)
	}
	delete(s.published, req.GetTargetPath())
	return &csi.NodeUnpublishVolumeResponse{}, nil
}
