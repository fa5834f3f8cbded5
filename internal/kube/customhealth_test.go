package kube_test

import (
	"fmt"
	"reflect"
	"strings"
	"testing"

	"github.com/rekindle-dev/rekindle/internal/kube"
)

func TestTheHealthOfACustomResource(t *testing.T) {
	for name, c := range map[string]struct {
		status string
		ready  bool
		says   string
	}{
		"no status":                         {"{}", true, ""},
		"Ready":                             {"{conditions: [{type: Ready, status: 'True'}]}", true, ""},
		"Ready of this generation":          {"{conditions: [{type: Ready, status: 'True', observedGeneration: 3}]}", true, ""},
		"Ready of an older generation":      {"{conditions: [{type: Ready, status: 'True', observedGeneration: 2}]}", false, "since it was changed"},
		"status of an older generation":     {"{observedGeneration: 2, conditions: [{type: Ready, status: 'True'}]}", false, "generation"},
		"not Ready":                         {"{conditions: [{type: Ready, status: 'False', reason: NoDisk, message: none left}]}", false, "none left"},
		"Available":                         {"{conditions: [{type: Available, status: 'True'}]}", true, ""},
		"not Available":                     {"{conditions: [{type: Available, status: 'False', reason: NoDisk, message: none left}]}", false, "Available=False (NoDisk): none left"},
		"Available of an older generation":  {"{conditions: [{type: Available, status: 'True', observedGeneration: 1}]}", false, "since it was changed"},
		"Ready counts before Available":     {"{conditions: [{type: Available, status: 'False'}, {type: Ready, status: 'True'}]}", true, ""},
		"this generation as a text":         {"{observedGeneration: '3'}", true, ""},
		"an older generation as a text":     {"{observedGeneration: '2'}", false, "generation"},
		"a generation that is no number":    {"{observedGeneration: 5d8f}", true, ""},
		"a condition of another name alone": {"{conditions: [{type: Synced, status: 'False'}]}", true, ""},
	} {
		objs, err := kube.ParseManifest([]byte("apiVersion: example.com/v1\nkind: X\nmetadata: {name: x, generation: 3}\nstatus: " + c.status))
		if err != nil {
			t.Fatal(err)
		}
		given := objs[0].DeepCopy()
		got := kube.HealthOf(objs[0])
		if !reflect.DeepEqual(given, objs[0]) {
			t.Errorf("%s: it was changed to %v", name, objs[0])
		}
		if got.Ready != c.ready || !strings.Contains(got.Message, c.says) {
			t.Errorf("%s: %+v, want ready %v, %q", name, got, c.ready, c.says)
		}
	}
}

func TestTheHealthOfTheGatewayAPI(t *testing.T) {
	const pending = "{type: %s, status: Unknown, reason: Pending, message: Waiting for controller}"
	accepted, programmed := fmt.Sprintf(pending, "Accepted"), fmt.Sprintf(pending, "Programmed")
	for name, c := range map[string]struct {
		kind, status string
		ready        bool
		says         string
	}{
		"what the CRD has filled in":      {"Gateway", "{conditions: [" + accepted + ", " + programmed + "]}", false, "Accepted=Unknown (Pending)"},
		"no status":                       {"Gateway", "{}", false, "not Accepted yet"},
		"accepted alone":                  {"Gateway", "{conditions: [{type: Accepted, status: 'True'}, " + programmed + "]}", false, "Programmed=Unknown"},
		"programmed":                      {"Gateway", "{conditions: [{type: Accepted, status: 'True'}, {type: Programmed, status: 'True'}]}", true, ""},
		"programmed before it changed":    {"Gateway", "{conditions: [{type: Accepted, status: 'True'}, {type: Programmed, status: 'True', observedGeneration: 2}]}", false, "since it was changed"},
		"a class that nobody takes":       {"GatewayClass", "{conditions: [" + accepted + "]}", false, "Pending"},
		"a class":                         {"GatewayClass", "{conditions: [{type: Accepted, status: 'True'}]}", true, ""},
		"a route that no parent has seen": {"HTTPRoute", "{}", true, ""},
		"a route that one parent refuses": {"HTTPRoute", "{parents: [{conditions: [{type: Accepted, status: 'True'}]}, {conditions: [{type: Accepted, status: 'False', reason: NoMatchingParent}]}]}", false, "NoMatchingParent"},
		"a route":                         {"HTTPRoute", "{parents: [{conditions: [{type: Accepted, status: 'True'}, {type: ResolvedRefs, status: 'False'}]}]}", true, ""},
	} {
		objs, err := kube.ParseManifest([]byte("apiVersion: gateway.networking.k8s.io/v1\nkind: " + c.kind + "\nmetadata: {name: x, generation: 3}\nstatus: " + c.status))
		if err != nil {
			t.Fatal(err)
		}
		if got := kube.HealthOf(objs[0]); got.Ready != c.ready || !strings.Contains(got.Message, c.says) {
			t.Errorf("%s: %+v, want ready %v, %q", name, got, c.ready, c.says)
		}
	}
}
