package gke

import (
	"context"
	"errors"
	"fmt"
	"regexp"
	"strings"

	"github.com/googleapis/gax-go/v2/apierror"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/rekindle-dev/rekindle/internal/fault"
	"github.com/rekindle-dev/rekindle/internal/wait"
	"github.com/rekindle-dev/rekindle/providers"
)

// codeOf is the code of an error of the API; OK for none.
func codeOf(err error) codes.Code {
	var api *apierror.APIError
	switch {
	case err == nil:
		return codes.OK
	case errors.As(err, &api) && api.GRPCStatus() != nil:
		return api.GRPCStatus().Code()
	case errors.Is(err, context.DeadlineExceeded):
		return codes.DeadlineExceeded
	}
	return status.Code(err)
}

// reasonOf is the machine's word for it, "CLUSTER_ALREADY_HAS_OPERATION".
func reasonOf(err error) string {
	var api *apierror.APIError
	var compute *computeError
	switch {
	case errors.As(err, &api):
		return api.Reason()
	case errors.As(err, &compute):
		return compute.reason
	}
	return ""
}

// consumerOf is the project that a call was counted on, where an error names it: that of the credentials may be another than the
// cluster's.
func consumerOf(err error) string {
	var api *apierror.APIError
	var compute *computeError
	consumer := ""
	switch {
	case errors.As(err, &api):
		consumer = api.Metadata()["consumer"]
	case errors.As(err, &compute):
		consumer = compute.consumer
	}
	return strings.TrimPrefix(consumer, "projects/")
}

// messageOf is what the server says, without what libraries put around it.
func messageOf(err error) string {
	var api *apierror.APIError
	if errors.As(err, &api) && api.GRPCStatus() != nil {
		return api.GRPCStatus().Message()
	}
	return status.Convert(err).Message()
}

// passing says that the same call may succeed later although nothing is changed by anybody here. Of a call that
// changes something it does not say that it had no effect.
func passing(err error) bool {
	var own *fault.Error
	if errors.As(err, &own) {
		return fault.IsTransient(err)
	}
	if errors.Is(err, providers.ErrNotFound) || errors.Is(err, context.Canceled) || strings.Contains(err.Error(), "x509:") {
		return false
	}
	switch codeOf(err) {
	case codes.Unavailable, codes.DeadlineExceeded, codes.ResourceExhausted, codes.Aborted, codes.Internal, codes.Unknown:
		return true
	}
	return false
}

var operationID = regexp.MustCompile(`operation-[0-9]+-[0-9a-f-]+[0-9a-f]`)

// busyWith gives the operation because of which a call was refused; "" when that is not the reason.
func busyWith(err error) string {
	if codeOf(err) != codes.FailedPrecondition {
		return ""
	}
	return operationID.FindString(messageOf(err))
}

// told is what a person reads of an error of the API: what was tried, on what, and what to do about it.
func told(err error, at place, what string) error {
	var own *fault.Error
	var timeout *wait.TimeoutError
	if err == nil || errors.As(err, &own) || errors.As(err, &timeout) || errors.Is(err, context.Canceled) {
		return err
	}
	object := "project " + at.project
	if at.name != "" {
		object = "cluster " + at.ref().String()
	}
	if q := quotaFault(messageOf(err), object, at); q != nil {
		return q
	}
	f := fault.New(fault.Failed, "%s: %s", what, messageOf(err)).On("%s", object)
	if strings.Contains(messageOf(err), "iam.serviceAccountUser") {
		return f.WithHint("the credentials need the role roles/iam.serviceAccountUser on the service account of the nodes")
	}
	switch codeOf(err) {
	case codes.Unauthenticated:
		return f.WithHint("the credentials are no longer valid: gcloud auth application-default login")
	case codes.PermissionDenied:
		return f.WithHint("%s", permissionHint(err, at))
	case codes.InvalidArgument:
		f.Kind = fault.Usage
		if strings.Contains(messageOf(err), "network") {
			return f.WithHint("see what there is: gcloud container subnets list-usable --project %s", at.project)
		}
		return f.WithHint("change spec.provider.gke: nothing was created")
	case codes.NotFound:
		return f.WithHint("is there a project %s, and a location %s?", at.project, at.location)
	}
	if passing(err) {
		return f.WithHint("Google may be out of order: https://status.cloud.google.com").Transient()
	}
	return f
}

// permissionHint says what has to be allowed before the same call is.
func permissionHint(err error, at place) string {
	message, reason := messageOf(err), reasonOf(err)
	role, counted := "roles/container.admin", or(consumerOf(err), at.project)
	var compute *computeError
	switch {
	case reason == "USER_PROJECT_DENIED" || strings.Contains(message, "requires a quota project"):
		return fmt.Sprintf("requests are counted on the project %s, in which the credentials need the role roles/serviceusage.serviceUsageConsumer; "+
			"to count them on the cluster's: gcloud auth application-default set-quota-project %s", counted, at.project)
	case reason == "BILLING_DISABLED" || strings.Contains(message, "requires billing to be enabled"):
		return "link a billing account: https://console.cloud.google.com/billing/linkedaccount?project=" + at.project
	case reason == "SERVICE_DISABLED" || strings.Contains(message, "has not been used in project"):
		return fmt.Sprintf("enable the API: gcloud services enable container.googleapis.com compute.googleapis.com --project %s", counted)
	case errors.As(err, &compute):
		role = "roles/compute.viewer"
	}
	return "the credentials need the role " + role + " in project " + at.project
}

var (
	quotaText   = regexp.MustCompile(`resource "([^"]+)": request requires '([0-9.]+)' and is short '([0-9.]+)'\. project has a quota of '([0-9.]+)'`)
	clusterText = regexp.MustCompile(`cannot create more than ([0-9]+) clusters in location ([a-z0-9-]+)`)
)

// quotaFault reads what GKE says, with PERMISSION_DENIED, of a quota that is too small; nil when it is about
// something else. Nothing was made then, and trying again is of no use.
func quotaFault(message, object string, at place) error {
	if m := clusterText.FindStringSubmatch(message); m != nil {
		return fault.New(fault.Failed, "%s allows %s clusters, and all of them are in use", m[2], m[1]).On("%s", object).
			WithHint("remove one, choose another location, or ask for more: %s", quotaLink(at))
	}
	var short []string
	for _, m := range quotaText.FindAllStringSubmatch(message, -1) {
		short = append(short, fmt.Sprintf("%s: needs %s, %s more than is free of the limit of %s", m[1], number(m[2]), number(m[3]), number(m[4])))
	}
	if len(short) == 0 {
		return nil
	}
	return smallQuota(object, at, short)
}

// number leaves out a fraction of nothing.
func number(s string) string { return strings.TrimSuffix(s, ".0") }
