package bootstrap

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"strings"
	"time"

	"github.com/rekindle-dev/rekindle/internal/config"
	"github.com/rekindle-dev/rekindle/internal/fault"
	"github.com/rekindle-dev/rekindle/internal/plan"
	"github.com/rekindle-dev/rekindle/internal/wait"
)

// bodyLimit is how much of an answer a check reads, in bytes.
const bodyLimit = 1 << 20

// addChecks appends spec.verify, side by side.
func (j *Job) addChecks(p *plan.Plan, needs ...plan.ID) {
	for i, check := range j.docs.Cluster.Spec.Verify {
		p.Add(j.check(i, check), needs...)
	}
}

func (j *Job) check(i int, c config.Check) plan.Step {
	timeout := c.Timeout.Or(2 * time.Minute)
	if j.tools.Wait > 0 {
		timeout = min(timeout, j.tools.Wait)
	}
	s := plan.Step{ID: plan.ID(fmt.Sprintf("check/%d", i+1)), Timeout: timeout}
	if c.HTTP != "" {
		s.Title = fmt.Sprintf("%s answers %d", c.HTTP, wantedStatus(c))
		s.Do = func(ctx context.Context, p plan.Progress) (plan.Outcome, error) {
			return plan.Unchanged, j.checkHTTP(ctx, c, p)
		}
	} else {
		s.Title = fmt.Sprintf("job %s/%s succeeds", c.Namespace, c.Job)
		s.Do = func(ctx context.Context, p plan.Progress) (plan.Outcome, error) {
			return j.checkJob(ctx, c, p)
		}
	}
	switch {
	case j.simulated:
		s.Caveats = []string{s.Title}
		s.Do = unproven
	case j.tools.Trial && c.HTTP != "" && asksOthers(c.HTTP):
		s.Caveats = []string{s.Title + ": the cluster in use would answer"}
		s.Do = unproven
	}
	return s
}

// unproven is what a step does that can not be shown here.
func unproven(context.Context, plan.Progress) (plan.Outcome, error) { return plan.Unproven, nil }

// checkHTTP asks until the answer is the wanted one.
func (j *Job) checkHTTP(ctx context.Context, c config.Check, p plan.Progress) error {
	client := &http.Client{
		Timeout:       10 * time.Second,
		Transport:     http.DefaultTransport.(*http.Transport).Clone(),
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
	defer client.CloseIdleConnections()
	condition := wait.Func(c.HTTP, func(ctx context.Context) (bool, string, error) {
		detail, err := ask(ctx, client, c)
		return detail == "", detail, err
	})
	if err := wait.Poll(ctx, condition, time.Second, p); err != nil {
		return fault.Wrap(err, fault.Failed, "it never gave the wanted answer").On("check %s", c.HTTP).
			WithHint("try it yourself: curl -i %s", curlArgs(c))
	}
	return nil
}

// ask makes one request; the detail says what was wrong with the answer, and is empty for a good one.
func ask(ctx context.Context, client *http.Client, c config.Check) (detail string, err error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, c.HTTP, nil)
	if err != nil {
		return "", err
	}
	req.Host = c.Host
	res, err := client.Do(req)
	if err != nil {
		return err.Error(), nil
	}
	defer func() { _ = res.Body.Close() }()
	body, err := io.ReadAll(io.LimitReader(res.Body, bodyLimit))
	switch {
	case err != nil:
		return "reading the answer: " + err.Error(), nil
	case res.StatusCode != wantedStatus(c):
		return fmt.Sprintf("answered %s, want %d", res.Status, wantedStatus(c)), nil
	case !strings.Contains(string(body), c.Contains):
		return fmt.Sprintf("the answer of %d bytes does not contain %q", len(body), c.Contains), nil
	}
	return "", nil
}

func wantedStatus(c config.Check) int {
	if c.Status == 0 {
		return http.StatusOK
	}
	return c.Status
}

func curlArgs(c config.Check) string {
	if c.Host == "" {
		return c.HTTP
	}
	return fmt.Sprintf("-H 'Host: %s' %s", c.Host, c.HTTP)
}
