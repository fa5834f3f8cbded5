package migrate

import (
	"context"
	"fmt"
	"strings"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/version"

	"github.com/rekindle-dev/rekindle/internal/fault"
	"github.com/rekindle-dev/rekindle/internal/kube"
	"github.com/rekindle-dev/rekindle/internal/plan"
	"github.com/rekindle-dev/rekindle/internal/state/volumes"
	"github.com/rekindle-dev/rekindle/migrate/fence"
)

// oldest is the version of Kubernetes that a fence needs: ValidatingAdmissionPolicy is served from it on.
const oldest = "1.30"

// Check finds, in the cluster that is to be left and in the one to be, all that is known to be in the way of a migration,
// and tells who writes. It changes nothing. Of a target that does not exist yet only its documents are looked at.
func (h *Handover) Check() *plan.Plan {
	p := plan.New("check " + h.giver.Name() + " and " + h.receiver.Name())
	look := func(id plan.ID, title string, do func(ctx context.Context, c *kube.Client, p plan.Progress) error) {
		p.Add(plan.Step{
			ID: id, Title: title, Timeout: lookTimeout, Retries: 2,
			Do: func(ctx context.Context, p plan.Progress) (plan.Outcome, error) {
				return plan.Unchanged, do(ctx, h.giver.Client(), p)
			},
		})
	}
	look("version", "the source can be fenced", checkVersion)
	look("claims", "the claims of the source can be carried", h.checkClaims)
	look("pods", "what writes comes back by itself", h.checkPods)
	look("writers", "who writes beside them", h.tellWriters)
	both := func(id plan.ID, title string, do func(ctx context.Context, p plan.Progress) error) {
		look(id, title, func(ctx context.Context, _ *kube.Client, p plan.Progress) error { return do(ctx, p) })
	}
	if h.receiver.Client() == nil {
		return p // what it serves and has room for, stage finds when it is made
	}
	both("target/version", "the target can be fenced", h.checkTargetVersion)
	both("target/apis", "the target serves what the repository uses", h.checkAPIs)
	both("target/room", "the target has room for the claims", h.checkRoom)
	if h.record != nil && h.record.Phase == Staged {
		both("target/equal", "what came into the target is as in the source", h.checkEqual)
	}
	return p
}

func checkVersion(ctx context.Context, c *kube.Client, p plan.Progress) error {
	info, err := c.Version(ctx)
	if err != nil {
		return fmt.Errorf("version of the source: %w", err)
	}
	if is, err := version.ParseGeneric(info.GitVersion); err != nil || is.LessThan(version.MustParseGeneric(oldest)) {
		return fault.New(fault.Refused, "runs Kubernetes %s, and a fence needs %s", info.GitVersion, oldest).On("source").
			WithHint("upgrade its control plane first")
	}
	p.Note("Kubernetes " + info.GitVersion)
	return ctx.Err()
}

// checkClaims tells which claims move, and refuses those that cannot.
func (h *Handover) checkClaims(ctx context.Context, c *kube.Client, p plan.Progress) error {
	all, err := volumes.Find(ctx, c)
	if err != nil {
		return err
	}
	var errs []error
	n := 0
	for i := range all {
		v := &all[i]
		switch {
		case v.Fault != nil:
			errs = append(errs, v.Fault)
		case v.Skipped != "":
			p.Note(fmt.Sprintf("claim %s stays: %s", v, v.Skipped))
		default:
			n++
		}
	}
	p.Note(fmt.Sprintf("claims that move: %d", n))
	return fault.Join(append(errs, h.outlive(all))...)
}

// checkPods looks whether the pods of the giver come back that a fence would end.
func (h *Handover) checkPods(ctx context.Context, _ *kube.Client, _ plan.Progress) error {
	rules, err := h.rules(ctx)
	if err != nil {
		return err
	}
	return h.comeBack(ctx, rules)
}

// comeBack refuses pods of the giver that a fence with these rules would end, and that nobody would make again.
func (h *Handover) comeBack(ctx context.Context, rules fence.Rules) error {
	writers, err := fence.Writers(ctx, h.giver.Client(), rules)
	if err != nil {
		return err
	}
	var errs []error
	for i := range writers {
		if pod := &writers[i]; metav1.GetControllerOf(pod) == nil && pod.DeletionTimestamp == nil {
			errs = append(errs, fault.New(fault.Refused, "mounts a claim or acts on external systems, and nothing recreates it once it is stopped").
				On("Pod %s/%s of %s", pod.Namespace, pod.Name, h.giver.Name()).
				WithHint("let a StatefulSet or a Deployment create it, or delete it"))
		}
	}
	return fault.Join(errs...)
}

// tellWriters tells of those whose work stops for the time of the cutover, or may only run on one side, and of those that no fence stops.
func (h *Handover) tellWriters(ctx context.Context, c *kube.Client, p plan.Progress) error {
	unfinished, err := fence.Unfinished(ctx, c, fence.Rules{})
	if err != nil {
		return err
	}
	if len(unfinished) > 0 {
		p.Note("Jobs that have not ended, and are awaited: " + strings.Join(unfinished, ", "))
	}
	schedules, err := c.Typed().BatchV1().CronJobs("").List(ctx, metav1.ListOptions{})
	if err != nil {
		return fmt.Errorf("list CronJobs: %w", err)
	}
	if n := len(schedules.Items); n > 0 {
		p.Note(fmt.Sprintf("CronJobs that pause from the fence on: %d", n))
	}
	pods, err := c.Typed().CoreV1().Pods("").List(ctx, metav1.ListOptions{})
	if err != nil {
		return fmt.Errorf("list pods: %w", err)
	}
	h.tellHeld(pods.Items, p)
	h.tellBeside(pods.Items, p)
	return nil
}
