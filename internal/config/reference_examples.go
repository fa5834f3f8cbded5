package config

import (
	"maps"
	"reflect"
	"strings"
)

// exampleOf is the example of a section of the reference; sections that are shown well enough by the one above have none.
func exampleOf(t reflect.Type, at string) string {
	if at == "" {
		at = t.Name()
	}
	return strings.TrimSpace(examples()[at])
}

// examples are parts of documents, by the section that they explain.
func examples() map[string]string {
	all := providerExamples()
	maps.Copy(all, clusterExamples())
	maps.Copy(all, stateExamples())
	return all
}

func providerExamples() map[string]string {
	return map[string]string{
		"Cluster": `
apiVersion: rekindle.dev/v1alpha1
kind: Cluster
metadata: {name: shop-prod}
spec:
  provider:
    kind: {nodes: 3}
  stack:
    - file: ../../stacks/platform.yaml
  reconciler:
    flux: {}
  source:
    url: https://git.example.com/acme/ops.git
    path: overlays/prod`,
		"spec": `
spec:
  variables: {DOMAIN: shop.example.com}
  provider:
    kwok: {}
  verify:
    - http: https://${DOMAIN}/healthz`,
		"spec.provider": `
spec:
  provider:
    kind: {nodes: 3}`,
		"spec.provider.kind": `
spec:
  provider:
    kind: {config: kind.yaml}`,
		"spec.provider.gke": `
spec:
  provider:
    gke:
      project: acme-prod
      location: europe-west6
      channel: regular
      nodePools:
        - name: default
          machineType: e2-standard-4
          nodes: 1`,
		"spec.provider.gke.ranges": `
spec:
  provider:
    gke:
      ranges: {pods: 10.8.0.0/14, services: /20}`,
		"spec.provider.gke.nodePools[]": `
spec:
  provider:
    gke:
      nodePools:
        - name: batch
          machineType: e2-standard-8
          spot: true
          autoscaling: {min: 0, max: 5}
          taints:
            - {key: batch, value: "true", effect: NoSchedule}`,
		"spec.provider.gke.nodePools[].autoscaling": `
autoscaling: {totalMin: 3, totalMax: 12}`,
		"spec.provider.gke.controlPlane": `
spec:
  provider:
    gke:
      privateNodes: true
      controlPlane:
        authorizedNetworks:
          - {name: office, cidr: 203.0.113.0/24}`,
		"spec.provider.kwok": `
spec:
  provider:
    kwok: {nodes: 3}`,
		"spec.provider.existing": `
spec:
  provider:
    existing: {context: on-prem}`,
	}
}

func clusterExamples() map[string]string {
	return map[string]string{
		"spec.kubernetes": `
spec:
  kubernetes: {version: "1.37"}`,
		"spec.stack[]": `
spec:
  stack:
    - file: ../../stacks/platform.yaml
    - file: ../../stacks/monitoring.yaml`,
		"spec.reconciler.flux": `
spec:
  reconciler:
    flux:
      version: 2.17.0
      timeout: 10m`,
		"spec.reconciler.argocd": `
spec:
  reconciler:
    argocd:
      version: 9.1.0
      values: {dex: {enabled: false}}`,
		"spec.source": `
spec:
  source:
    url: https://git.example.com/acme/ops.git
    ref: {branch: main}
    path: overlays/prod
    auth: {secret: git}`,
		"spec.source.ref": `
spec:
  source:
    ref: {tag: v1.4.0}`,
		"spec.keys[]": `
spec:
  keys:
    - name: sops-age
      from: {file: ~/.config/sops/age/keys.txt, key: age.agekey}
    - name: git
      from: {env: {username: GIT_USER, password: GIT_TOKEN}}
    - name: registry
      namespace: ingress
      type: kubernetes.io/dockerconfigjson
      from: {file: ~/.docker/config.json, key: .dockerconfigjson}`,
		"spec.keys[].from": `
from: {exec: [pass, show, ops/age], key: age.agekey}`,
	}
}

func stateExamples() map[string]string {
	return map[string]string{
		"spec.state": `
spec:
  state:
    repository: s3:https://s3.example.com/acme-snapshots
    password: {env: RESTIC_PASSWORD}
    schedule: "0 */6 * * *"
    keep: {last: 14}
    objects:
      - apiVersion: v1
        kind: Secret
        namespace: sealed-secrets
        selector: sealedsecrets.bitnami.com/sealed-secrets-key`,
		"spec.state.password": `
password: {file: ~/.config/rekindle/state-password}`,
		"spec.verify[]": `
spec:
  verify:
    - {http: "https://shop.example.com/healthz", contains: ok}
    - {job: smoke-test, namespace: shop, timeout: 5m}`,
		"spec.migration": `
spec:
  migration:
    traffic: {exec: [./switch-traffic.sh]}
    probes:
      - http: https://shop.example.com/healthz
    hold: [mailer]`,
		"spec.migration.traffic.externalDNS": `
spec:
  migration:
    traffic:
      externalDNS: {timeout: 15m}`,
		"Stack": `
apiVersion: rekindle.dev/v1alpha1
kind: Stack
metadata: {name: platform}
releases:
  - name: cert-manager
    namespace: cert-manager
    chart: oci://quay.io/jetstack/charts/cert-manager
    version: v1.21.2
    values: {crds: {enabled: true}}`,
		"releases[].ignore[]": `
releases:
  - name: injector
    namespace: platform
    chart: ../charts/injector
    ignore:
      - {kind: MutatingWebhookConfiguration, path: webhooks.*.clientConfig.caBundle}`,
		"releases[]": `
releases:
  - name: prometheus
    namespace: monitoring
    chart: kube-prometheus-stack
    repo: https://prometheus-community.github.io/helm-charts
    version: 79.5.0
    valuesFiles: [values/prometheus.yaml]
    needs: [cert-manager]
    timeout: 10m
  - name: issuers
    namespace: cert-manager
    chart: ../charts/issuers
    needs: [cert-manager]`,
	}
}
