package argocd_test

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/rekindle-dev/rekindle/internal/plan"
)

// reportingKind is the CRD of what a controller is to report of.
const reportingKind = `apiVersion: apiextensions.k8s.io/v1
kind: CustomResourceDefinition
metadata: {name: databases.reports.example.com}
spec:
  group: reports.example.com
  names: {kind: Database, listKind: DatabaseList, plural: databases, singular: database}
  scope: Namespaced
  versions:
    - name: v1
      served: true
      storage: true
      schema:
        openAPIV3Schema:
          type: object
          properties:
            status: {type: object, properties: {conditions: {type: array, items: {type: object, x-kubernetes-preserve-unknown-fields: true}}}}
      subresources: {status: {}}
`

// TestWhatNoControllerHasLookedAtIsAwaited: kstatus takes a custom resource without conditions for ready.
func TestWhatNoControllerHasLookedAtIsAwaited(t *testing.T) {
	s := newStage(t, "reports")
	if _, err := s.client.EstablishCRDs(t.Context(), s.parse(reportingKind), nil); err != nil {
		t.Fatal(err)
	}
	s.point(true)
	s.says(strings.Replace(synced(newer), `{"version":"v1","kind":"Namespace","name":"default"}`,
		`{"group":"reports.example.com","version":"v1","kind":"Database","namespace":"reports","name":"db"}`, 1))
	s.apply("apiVersion: reports.example.com/v1\nkind: Database\nmetadata: {name: db, namespace: reports}\n")
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	waited := errors.New("it waits for the controller")
	ctx, stop := context.WithCancelCause(ctx)
	_, err := s.argo.Sync(ctx, s.client, s.watcher, s.target, false, func(u plan.Update) {
		if strings.Contains(u.Waiting, "Database reports/db not yet seen by its controller") {
			stop(waited)
		}
	})
	if !errors.Is(context.Cause(ctx), waited) {
		t.Errorf("it was taken for ready: %v", err)
	}
}
