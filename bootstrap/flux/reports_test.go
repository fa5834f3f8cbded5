package flux_test

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
	l := newLab(t)
	l.commit(map[string]string{"ns.yaml": namespace, "crd.yaml": reportingKind,
		"db.yaml": "apiVersion: reports.example.com/v1\nkind: Database\nmetadata: {name: db, namespace: shop}\n"})
	if _, err := l.flux.Point(t.Context(), l.client, l.target, true); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	waited := errors.New("it waits for the controller")
	ctx, stop := context.WithCancelCause(ctx)
	_, err := l.flux.Sync(ctx, l.client, l.watcher, l.target, false, func(u plan.Update) {
		if strings.Contains(u.Waiting, "Database shop/db not yet seen by its controller") {
			stop(waited)
		}
	})
	if !errors.Is(context.Cause(ctx), waited) {
		t.Errorf("it was taken for ready: %v", err)
	}
}
