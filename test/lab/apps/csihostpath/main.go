// Command csihostpath is a CSI driver whose volumes and snapshots are folders of the node: storage for tests of what goes
// through Kubernetes' own controllers of volumes and snapshots. It stands in for drivers of storage systems, which want such a
// system, and holds to the CSI's rules by the CSI's own suite of tests. A snapshot is a copy: what writes meanwhile must hold still.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"net"
	"os"
	"os/signal"
	"path/filepath"
	"syscall"

	"github.com/container-storage-interface/spec/lib/go/csi"
	"google.golang.org/grpc"
	registration "k8s.io/kubelet/pkg/apis/pluginregistration/v1"
)

// Name is what the driver is called in storage classes.
const Name = "hostpath.lab.rekindle.dev"

func main() {
	socket := flag.String("socket", "/csi/csi.sock", "where the driver answers")
	kubelet := flag.String("kubelet-socket", "", "the same, as the kubelet sees it; empty registers nowhere")
	registry := flag.String("registry", "/registration", "the kubelet's folder for sockets of plugins")
	node := flag.String("node", "", "name of this node")
	dir := flag.String("dir", "/data", "folder for volumes and snapshots")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM)
	defer stop()
	if err := run(ctx, *socket, *kubelet, *registry, *node, *dir); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func run(ctx context.Context, socket, kubelet, registry, node, dir string) error {
	store, err := openStore(dir)
	if err != nil {
		return err
	}
	driver := grpc.NewServer()
	register(driver, newServer(store, node, kernel{}))
	errs := make(chan error, 2)
	if err := listen(driver, socket, errs); err != nil {
		return err
	}
	defer driver.GracefulStop()
	if kubelet != "" {
		plugin := grpc.NewServer()
		registration.RegisterRegistrationServer(plugin, registrar{endpoint: kubelet})
		if err := listen(plugin, filepath.Join(registry, Name+"-reg.sock"), errs); err != nil {
			return err
		}
		defer plugin.GracefulStop()
	}
	select {
	case <-ctx.Done():
		return nil
	case err := <-errs:
		return err
	}
}

// register has the driver answer all that a CSI driver is asked.
func register(to *grpc.Server, s *server) {
	csi.RegisterIdentityServer(to, s)
	csi.RegisterControllerServer(to, s)
	csi.RegisterNodeServer(to, s)
}

// listen serves on a socket, which a killed run may have left.
func listen(s *grpc.Server, socket string, errs chan<- error) error {
	if err := os.Remove(socket); err != nil && !errors.Is(err, os.ErrNotExist) {
		return err
	}
	l, err := net.Listen("unix", socket)
	if err != nil {
		return err
	}
	go func() { errs <- s.Serve(l) }()
	return nil
}

// registrar tells the kubelet of the driver.
type registrar struct {
	registration.UnsafeRegistrationServer
	endpoint string
}

func (r registrar) GetInfo(context.Context, *registration.InfoRequest) (*registration.PluginInfo, error) {
	return &registration.PluginInfo{Type: registration.CSIPlugin, Name: Name, Endpoint: r.endpoint, SupportedVersions: []string{"1.0.0"}}, nil
}

func (r registrar) NotifyRegistrationStatus(_ context.Context, s *registration.RegistrationStatus) (*registration.RegistrationStatusResponse, error) {
	if !s.GetPluginRegistered() {
		fmt.Fprintln(os.Stderr, "the kubelet does not take the driver:", s.GetError())
	}
	return &registration.RegistrationStatusResponse{}, nil
}
