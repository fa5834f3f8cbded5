package main

import (
	"cmp"
	"context"
	"errors"
	"os"
	"sync"
	"time"

	"github.com/container-storage-interface/spec/lib/go/csi"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/types/known/timestamppb"
	"google.golang.org/protobuf/types/known/wrapperspb"
)

// server answers what a CSI driver is asked.
type server struct {
	csi.UnimplementedIdentityServer
	csi.UnimplementedControllerServer
	csi.UnimplementedNodeServer
	store  *store
	node   string
	mounts mounter

	mu        sync.Mutex
	published map[string]string // place → volume that is mounted there
}

func newServer(s *store, node string, m mounter) *server {
	return &server{store: s, node: node, mounts: m, published: map[string]string{}}
}

// defaultSize is that of a volume for which none is asked, in bytes. Nothing holds to sizes.
const defaultSize = 1 << 30

func missing(what string) error {
	return status.Error(codes.InvalidArgument, what+" is missing")
}

// failed gives an error of the store the code that the CSI has for it.
func failed(err error) error {
	if errors.Is(err, os.ErrNotExist) {
		return status.Error(codes.NotFound, err.Error())
	}
	return status.Error(codes.Internal, err.Error())
}

func (s *server) GetPluginInfo(context.Context, *csi.GetPluginInfoRequest) (*csi.GetPluginInfoResponse, error) {
	return &csi.GetPluginInfoResponse{Name: Name, VendorVersion: "1.0.0"}, nil
}

func (s *server) GetPluginCapabilities(context.Context, *csi.GetPluginCapabilitiesRequest) (*csi.GetPluginCapabilitiesResponse, error) {
	return &csi.GetPluginCapabilitiesResponse{Capabilities: []*csi.PluginCapability{{Type: &csi.PluginCapability_Service_{
		Service: &csi.PluginCapability_Service{Type: csi.PluginCapability_Service_CONTROLLER_SERVICE},
	}}}}, nil
}

func (s *server) Probe(context.Context, *csi.ProbeRequest) (*csi.ProbeResponse, error) {
	return &csi.ProbeResponse{Ready: wrapperspb.Bool(true)}, nil
}

func (s *server) ControllerGetCapabilities(context.Context, *csi.ControllerGetCapabilitiesRequest) (*csi.ControllerGetCapabilitiesResponse, error) {
	var all []*csi.ControllerServiceCapability
	for _, can := range []csi.ControllerServiceCapability_RPC_Type{
		csi.ControllerServiceCapability_RPC_CREATE_DELETE_VOLUME, csi.ControllerServiceCapability_RPC_CREATE_DELETE_SNAPSHOT,
		csi.ControllerServiceCapability_RPC_SINGLE_NODE_MULTI_WRITER,
	} {
		all = append(all, &csi.ControllerServiceCapability{Type: &csi.ControllerServiceCapability_Rpc{Rpc: &csi.ControllerServiceCapability_RPC{Type: can}}})
	}
	return &csi.ControllerGetCapabilitiesResponse{Capabilities: all}, nil
}

func (s *server) CreateVolume(_ context.Context, req *csi.CreateVolumeRequest) (*csi.CreateVolumeResponse, error) {
	if !valid(req.GetName()) {
		return nil, missing("a name that a folder can have")
	}
	if err := mountable(req.GetVolumeCapabilities()...); err != nil {
		return nil, err
	}
	s.store.mu.Lock()
	defer s.store.mu.Unlock()
	want := thing{Name: req.GetName(), Size: cmp.Or(req.GetCapacityRange().GetRequiredBytes(), defaultSize), Source: req.GetVolumeContentSource().GetSnapshot().GetSnapshotId(), Made: time.Now()}
	answer := &csi.CreateVolumeResponse{Volume: &csi.Volume{VolumeId: want.Name, CapacityBytes: want.Size, ContentSource: req.GetVolumeContentSource()}}
	if is, err := s.store.get(ofVolumes, want.Name); err == nil {
		if is.Size != want.Size || is.Source != want.Source {
			return nil, status.Errorf(codes.AlreadyExists, "%s is there, and another", want.Name)
		}
		return answer, nil
	}
	from := ""
	if source := req.GetVolumeContentSource(); source != nil {
		if source.GetSnapshot() == nil {
			return nil, status.Error(codes.InvalidArgument, "volumes are made from snapshots alone")
		}
		if _, err := s.store.get(ofSnapshots, want.Source); err != nil {
			return nil, failed(err)
		}
		from = s.store.data(ofSnapshots, want.Source)
	}
	if err := s.store.add(ofVolumes, want, from); err != nil {
		return nil, failed(err)
	}
	return answer, nil
}

// mountable wants volumes of files.
func mountable(all ...*csi.VolumeCapability) error {
	if len(all) == 0 {
		return missing("what the volume is to be able to do")
	}
	for _, one := range all {
		if one.GetMount() == nil {
			return status.Error(codes.InvalidArgument, "volumes are mounted as files")
		}
	}
	return nil
}

func (s *server) DeleteVolume(_ context.Context, req *csi.DeleteVolumeRequest) (*csi.DeleteVolumeResponse, error) {
	return &csi.DeleteVolumeResponse{}, s.drop(ofVolumes, req.GetVolumeId())
}

func (s *server) DeleteSnapshot(_ context.Context, req *csi.DeleteSnapshotRequest) (*csi.DeleteSnapshotResponse, error) {
	return &csi.DeleteSnapshotResponse{}, s.drop(ofSnapshots, req.GetSnapshotId())
}

func (s *server) drop(kind, id string) error {
	if id == "" {
		return missing("the id")
	}
	s.store.mu.Lock()
	defer s.store.mu.Unlock()
	if err := s.store.remove(kind, id); err != nil {
		return failed(err)
	}
	return nil
}

func (s *server) CreateSnapshot(_ context.Context, req *csi.CreateSnapshotRequest) (*csi.CreateSnapshotResponse, error) {
	if !valid(req.GetName()) || req.GetSourceVolumeId() == "" {
		return nil, missing("a name that a folder can have, or the volume")
	}
	s.store.mu.Lock()
	defer s.store.mu.Unlock()
	is, err := s.store.get(ofSnapshots, req.GetName())
	switch {
	case err == nil && is.Source != req.GetSourceVolumeId():
		return nil, status.Errorf(codes.AlreadyExists, "%s is there, of another volume", req.GetName())
	case err != nil:
		of, err := s.store.get(ofVolumes, req.GetSourceVolumeId())
		if err != nil {
			return nil, failed(err)
		}
		is = thing{Name: req.GetName(), Source: req.GetSourceVolumeId(), Size: of.Size, Made: time.Now()}
		if err := s.store.add(ofSnapshots, is, s.store.data(ofVolumes, is.Source)); err != nil {
			return nil, failed(err)
		}
	}
	return &csi.CreateSnapshotResponse{Snapshot: &csi.Snapshot{
		SnapshotId: is.Name, SourceVolumeId: is.Source, SizeBytes: is.Size, CreationTime: timestamppb.New(is.Made), ReadyToUse: true,
	}}, nil
}

func (s *server) ValidateVolumeCapabilities(_ context.Context, req *csi.ValidateVolumeCapabilitiesRequest) (*csi.ValidateVolumeCapabilitiesResponse, error) {
	if req.GetVolumeId() == "" || len(req.GetVolumeCapabilities()) == 0 {
		return nil, missing("the volume, or what it is to be able to do")
	}
	if _, err := s.store.get(ofVolumes, req.GetVolumeId()); err != nil {
		return nil, failed(err)
	}
	if err := mountable(req.GetVolumeCapabilities()...); err != nil {
		return &csi.ValidateVolumeCapabilitiesResponse{Message: err.Error()}, nil
	}
	return &csi.ValidateVolumeCapabilitiesResponse{
		Confirmed: &csi.ValidateVolumeCapabilitiesResponse_Confirmed{VolumeCapabilities: req.GetVolumeCapabilities()},
	}, nil
}
