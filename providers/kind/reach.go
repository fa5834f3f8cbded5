package kind

import (
	"context"
	"errors"
	"fmt"
	"net"
	"strings"
)

// reachesHost says why containers do not reach what this machine listens on at their gateway: their network is elsewhere. A
// daemon that does not answer is told of by whoever needs it.
func (r runtime) reachesHost(ctx context.Context) error {
	if r.remote(ctx) {
		return errors.New("the containers run on another machine")
	}
	format := map[string]string{
		docker: "{{json .SecurityOptions}} {{.OperatingSystem}}", podman: "{{if .Host.Security.Rootless}}name=rootless{{end}}",
	}[r.command]
	out, err := r.run(ctx, "info", "--format", format)
	switch {
	case err != nil || format == "":
	case strings.Contains(string(out), "name=rootless"):
		return fmt.Errorf("%s is rootless, so the network of the containers is not one of this machine", r.command)
	case strings.Contains(string(out), "Docker Desktop"):
		return errors.New("the containers of Docker Desktop are in a virtual machine, whose network is not one of this machine")
	}
	if exists, _, err := r.hasNetwork(ctx); err != nil || !exists {
		return nil // it will be
	}
	address, err := r.gateway(ctx)
	if err != nil {
		return nil // told when it is needed
	}
	l, err := net.Listen("tcp", net.JoinHostPort(address, "0"))
	if err != nil {
		return fmt.Errorf("the gateway of the containers, %s, is not an address of this machine", address)
	}
	return l.Close()
}
