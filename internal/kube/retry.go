package kube

import (
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	utilnet "k8s.io/apimachinery/pkg/util/net"

	"github.com/rekindle-dev/rekindle/internal/plan"
	"github.com/rekindle-dev/rekindle/internal/wait"
)

// maxPause is the longest pause between two tries of a request.
const maxPause = 2 * time.Second

// Transient says whether the same request may succeed later without any change of ours, as when a webhook has no
// endpoints for a moment.
func Transient(err error) bool { return transient(err) }

// transient says whether the same request may succeed later without any change of ours: the server is
// away, busy, or waits for something that comes up.
func transient(err error) bool {
	var status apierrors.APIStatus
	switch {
	case err == nil || errors.Is(err, context.Canceled) || errors.Is(err, context.DeadlineExceeded):
		return false
	case errors.As(err, &status):
		return transientStatus(err, status.Status())
	case utilnet.IsConnectionRefused(err), utilnet.IsConnectionReset(err), utilnet.IsProbableEOF(err),
		utilnet.IsHTTP2ConnectionLost(err), errors.Is(err, io.ErrUnexpectedEOF):
		return true
	}
	var timeout net.Error
	var request *url.Error
	return errors.As(err, &timeout) && timeout.Timeout() || errors.As(err, &request) && request.Temporary()
}

func transientStatus(err error, status metav1.Status) bool {
	switch {
	case apierrors.IsConflict(err):
		return !isOwnerConflict(err)
	case apierrors.HasStatusCause(err, "NamespaceTerminating"):
		return true
	}
	switch status.Code {
	case http.StatusTooManyRequests, http.StatusBadGateway, http.StatusServiceUnavailable, http.StatusGatewayTimeout:
		return true
	case http.StatusInternalServerError:
		return mayPass(status.Message)
	}
	return false
}

// mayPass says whether an internal error of the server is one that passes. It also answers so to
// requests that will never do, such as an apply with a field that is in no schema.
func mayPass(message string) bool {
	return slices.ContainsFunc([]string{
		"failed calling webhook", "conversion webhook", "etcdserver", "connection refused", "connection reset",
		"timeout", "timed out", "deadline exceeded", "EOF", "leader changed", "unavailable", "no endpoints", "try again",
	}, func(part string) bool { return strings.Contains(message, part) })
}

// isOwnerConflict says whether a server-side apply met fields of another manager.
func isOwnerConflict(err error) bool {
	return apierrors.HasStatusCause(err, metav1.CauseTypeFieldManagerConflict)
}

// persist repeats a request until it succeeds, fails for good, or the context is done.
func persist(ctx context.Context, what string, p plan.Progress, do func(context.Context) error) error {
	var last error
	condition := wait.Func(what, func(ctx context.Context) (bool, string, error) {
		if last = do(ctx); transient(last) {
			return false, brief(last), nil
		}
		return true, "", nil
	})
	if err := wait.Poll(ctx, condition, maxPause, p); err != nil {
		return err
	}
	return last
}

// brief is the part of a transport or API error that tells a person something.
func brief(err error) string {
	var request *url.Error
	if errors.As(err, &request) {
		err = request.Err
	}
	text := err.Error()
	if i := strings.Index(text, "failed calling webhook"); i > 0 {
		text = text[i:]
	}
	return text
}
