// Command cmd runs the emulator of GKE's API until it gets a signal, and tells on standard output how to use it:
//
//	go run ./test/gke/cmd -dir /tmp/gke -script faults.yaml
//
// It prints lines that a shell can evaluate. What is in the folder stays: started again with the same one, it goes
// on. With -destroy it removes the folder with everything that runs behind it.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"strconv"
	"strings"
	"syscall"
	"time"

	"sigs.k8s.io/kind/pkg/apis/config/v1alpha4"
	"sigs.k8s.io/yaml"

	"github.com/rekindle-dev/rekindle/providers"
	"github.com/rekindle-dev/rekindle/providers/kind"
	"github.com/rekindle-dev/rekindle/providers/kwok"
	gke "github.com/rekindle-dev/rekindle/test/gke"
)

func main() { os.Exit(run(os.Args[1:])) }

func run(args []string) int {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM)
	defer stop()
	var err error
	if len(args) == 2 && args[0] == "supervise" { // a control plane behind a cluster
		err = kwok.Supervise(ctx, args[1])
	} else {
		err = serve(ctx, args)
	}
	switch {
	case err == nil || errors.Is(err, flag.ErrHelp):
		return 0
	default:
		fmt.Fprintln(os.Stderr, "gke:", err)
		return 1
	}
}

// flags reads the options.
func flags(args []string) (o gke.Options, destroy bool, err error) {
	f := flag.NewFlagSet("gke", flag.ContinueOnError)
	f.StringVar(&o.Dir, "dir", "", "the `folder` that keeps everything (required)")
	f.StringVar(&o.Listen, "listen", "", "the `address`; default that of the last time, or a free port")
	f.StringVar(&o.Project, "project", "", "the `project` of the service account")
	f.StringVar(&o.Kwok.AssetsDir, "assets", "", "the `folder` of the control plane's programs; default rekindle's")
	f.DurationVar(&o.TokenLife, "token-life", time.Hour, "how long a token is good")
	f.DurationVar(&o.Pace.Create, "create", 0, "how long a creation takes at least")
	f.DurationVar(&o.Pace.Delete, "delete", 0, "how long a deletion takes at least")
	f.DurationVar(&o.Pace.Change, "change", 0, "how long any other operation takes at least")
	f.DurationVar(&o.Pace.Collect, "collect", 0, "how long after its cluster something goes that is removed by itself")
	f.BoolVar(&destroy, "destroy", false, "remove the folder and what runs behind it, and end")
	kindFile := f.String("kind", "", "run real nodes behind clusters: a `file` with a kind configuration, to which the nodes are added")
	script := f.String("script", "", "a `file` with a list of faults")
	f.Func("network", "a `network` that projects have; may be given several times", func(name string) error {
		o.Networks = append(o.Networks, name)
		return nil
	})
	f.Func("quota", "a limit, as `METRIC=N`; may be given several times", func(s string) error {
		metric, limit, _ := strings.Cut(s, "=")
		n, err := strconv.ParseFloat(limit, 64)
		if o.Quotas == nil {
			o.Quotas = gke.DefaultQuotas()
		}
		o.Quotas[metric] = n
		return err
	})
	if err := f.Parse(args); err != nil {
		return o, false, err
	}
	if o.Dir == "" || f.NArg() > 0 {
		return o, false, errors.New("want -dir FOLDER and no other arguments")
	}
	if *kindFile != "" {
		base, err := os.ReadFile(*kindFile)
		if err != nil {
			return o, false, err
		}
		o.Behind = func(nodes int) (providers.Provider, error) { return withWorkers(base, *kindFile, nodes) }
	}
	if *script != "" {
		o.Script, err = gke.ReadScript(*script)
	}
	o.Log = os.Stderr
	return o, destroy, err
}

// withWorkers makes kind clusters of a configuration and more nodes like its last.
func withWorkers(base []byte, file string, nodes int) (providers.Provider, error) {
	var cfg v1alpha4.Cluster
	if err := yaml.UnmarshalStrict(base, &cfg); err != nil {
		return nil, fmt.Errorf("%s: %w", file, err)
	}
	if len(cfg.Nodes) == 0 {
		cfg.Nodes = []v1alpha4.Node{{Role: v1alpha4.ControlPlaneRole}}
	}
	worker := cfg.Nodes[len(cfg.Nodes)-1]
	worker.Role, worker.ExtraPortMappings = v1alpha4.WorkerRole, nil
	for range nodes {
		cfg.Nodes = append(cfg.Nodes, worker)
	}
	raw, err := yaml.Marshal(cfg)
	return kind.New(kind.Settings{Config: raw, File: file}), err
}

func serve(ctx context.Context, args []string) error {
	o, destroy, err := flags(args)
	if err != nil {
		return err
	}
	s, err := gke.Open(ctx, o)
	if err != nil {
		return err
	}
	if destroy {
		return errors.Join(s.Close(), s.Destroy(context.WithoutCancel(ctx)))
	}
	for _, line := range [][2]string{
		{"REKINDLE_GKE_ENDPOINT", s.URL()}, {"REKINDLE_GKE_CA", s.CAFile()}, {"GOOGLE_APPLICATION_CREDENTIALS", s.CredentialsFile()},
	} {
		fmt.Printf("export %s='%s'\n", line[0], line[1])
	}
	<-ctx.Done()
	return s.Close()
}
