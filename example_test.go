package rekindle_test

import (
	"context"
	"fmt"
	"log"
	"os"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"

	"github.com/rekindle-dev/rekindle"
)

// A lost cluster is rebuilt with its data.
func ExampleCluster_Rebuild() {
	ctx := context.Background()
	cluster, err := rekindle.Open(ctx, "clusters/prod/cluster.yaml", rekindle.Options{Log: os.Stderr, ReportFile: "rebuild.html"})
	if err != nil {
		log.Fatal(rekindle.Explain(err))
	}
	report, err := cluster.Rebuild(ctx, rekindle.RebuildOptions{})
	if err != nil {
		log.Fatal(rekindle.Explain(err))
	}
	for _, remark := range report.Unproven {
		fmt.Println("not proven:", remark.Text)
	}
}

// A program works in a cluster of its own, on simulated nodes, from the checkout that it is in.
func ExampleRun() {
	options := rekindle.Options{Provider: "kwok", SourceFrom: "."}
	_, err := rekindle.Run(context.Background(), "clusters/test/cluster.yaml", options, rekindle.RunOptions{},
		func(ctx context.Context, cluster *rekindle.Running) error {
			client, err := kubernetes.NewForConfig(cluster.REST)
			if err != nil {
				return err
			}
			pods, err := client.CoreV1().Pods("").List(ctx, metav1.ListOptions{})
			if err != nil {
				return err
			}
			fmt.Println(len(pods.Items), "pods in", cluster.Name)
			return nil
		})
	if err != nil {
		log.Fatal(rekindle.Explain(err))
	}
}
