package volumes

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/utils/ptr"

	"github.com/rekindle-dev/rekindle/internal/fault"
	"github.com/rekindle-dev/rekindle/internal/plan"
	"github.com/rekindle-dev/rekindle/internal/state"
)

func volume() *Volume {
	return &Volume{Claim: state.Claim{Namespace: "shop", Name: "data-0"}, Node: "node-1", uid: "u-1"}
}

// TestAVolumeIsMadeWhereItsPodMayRun: a mover is the first to use it, and decides where it is.
func TestAVolumeIsMadeWhereItsPodMayRun(t *testing.T) {
	mounts := func(names ...string) (all []corev1.Volume) {
		for _, name := range names {
			all = append(all, corev1.Volume{Name: name, VolumeSource: corev1.VolumeSource{PersistentVolumeClaim: &corev1.PersistentVolumeClaimVolumeSource{ClaimName: name}}})
		}
		return all
	}
	pod := &corev1.PodSpec{
		NodeSelector: map[string]string{"disk": "fast"}, Tolerations: []corev1.Toleration{{Key: "dedicated"}},
		Affinity: &corev1.Affinity{NodeAffinity: &corev1.NodeAffinity{}, PodAffinity: &corev1.PodAffinity{}}, Volumes: mounts("wal-0", "data-0"),
	}
	of := func(unbound bool, like *corev1.PodSpec) (corev1.PodSpec, string) {
		task := restoreTask("abc", "shop", "data-0", "u-1", false)
		task.unbound, task.like = unbound, like
		spec := job(task, "m", "image").Spec.Template.Spec
		return spec, strings.Join(ClaimsOf(&spec), " ")
	}
	spec, claims := of(true, pod)
	if spec.NodeSelector["disk"] != "fast" || len(spec.Tolerations) != 1 || spec.Tolerations[0].Key != "dedicated" || spec.Affinity.NodeAffinity == nil || spec.Affinity.PodAffinity != nil || claims != "data-0 wal-0" {
		t.Errorf("beside its pod: %+v", spec)
	}
	if len(spec.Containers[0].VolumeMounts) != 2 {
		t.Error("it mounts the other claims of its pod")
	}
	if spec, claims := of(true, nil); len(spec.Tolerations) > 0 || claims != "data-0" {
		t.Errorf("without a pod it tolerates %v", spec.Tolerations)
	}
	if spec, claims := of(false, pod); len(spec.Tolerations) != 1 || spec.Tolerations[0].Key != "" || spec.NodeSelector != nil || claims != "data-0" {
		t.Errorf("where its volume is: %+v", spec)
	}
}

// TestAPodOnALostNodeDrawsNoMoverThere: the volume of several nodes is read where a pod has it that stays.
func TestAPodOnALostNodeDrawsNoMoverThere(t *testing.T) {
	pod := func(name, node string, ends *metav1.Time) *corev1.Pod {
		return &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Namespace: "shop", Name: name, DeletionTimestamp: ends}, Spec: corev1.PodSpec{NodeName: node}}
	}
	claim := &corev1.PersistentVolumeClaim{
		ObjectMeta: metav1.ObjectMeta{Namespace: "shop", Name: "files"}, Status: corev1.PersistentVolumeClaimStatus{Phase: corev1.ClaimBound},
	}
	lost, other := pod("a", "lost", &metav1.Time{Time: time.Now().Add(-time.Hour)}), pod("b", "other", nil)
	for want, users := range map[string][]*corev1.Pod{"": nil, "lost": {lost}, "other": {lost, other}} {
		if v := found(claim, users); v.Node != want || !v.Taken() {
			t.Errorf("%d pods: on node %q, want %q; %v", len(users), v.Node, want, v.Fault)
		}
	}
	claim.DeletionTimestamp = &metav1.Time{Time: time.Now()} // nothing else can mount it
	for going, users := range map[bool][]*corev1.Pod{false: nil, true: {other}} {
		if v := found(claim, users); v.Going != going || v.Skipped == "" {
			t.Errorf("deleted while %d pods have it mounted: %+v", len(users), v)
		}
	}
	claim.OwnerReferences = []metav1.OwnerReference{*metav1.NewControllerRef(other, corev1.SchemeGroupVersion.WithKind("Pod"))}
	if v := found(claim, []*corev1.Pod{other}); v.Going || v.Skipped == "" {
		t.Errorf("an ephemeral one goes with its pod: %+v", v)
	}
}

func TestAMoverHasNoMoreThanItNeeds(t *testing.T) {
	back, forth := job(backupTask(volume(), "prod", "set-1", ""), "m", "image"), job(restoreTask("abc", "shop", "data-0", "u-1", false), "m", "image")
	waits := restoreTask("abc", "shop", "data-0", "u-1", false)
	waits.stands = true
	for name, j := range map[string]*batchv1.Job{"backup": back, "restore": forth, "standing": job(waits, "m", "image")} {
		spec := j.Spec.Template.Spec
		c := spec.Containers[0]
		switch {
		case *spec.AutomountServiceAccountToken:
			t.Errorf("%s: it has a token of the API server", name)
		case !*c.SecurityContext.ReadOnlyRootFilesystem, *c.SecurityContext.AllowPrivilegeEscalation, c.SecurityContext.Capabilities.Drop[0] != "ALL":
			t.Errorf("%s: %+v", name, c.SecurityContext)
		case spec.SecurityContext.FSGroup != nil:
			t.Errorf("%s: the kubelet would change the group of every file", name)
		case c.Resources.Limits.Memory().IsZero():
			t.Errorf("%s: its memory is not bounded", name)
		case *j.Spec.BackoffLimit != 0, j.Spec.TTLSecondsAfterFinished == nil, j.Spec.ActiveDeadlineSeconds == nil:
			t.Errorf("%s: it may begin again by itself, or stay: %+v", name, j.Spec)
		case j.Spec.Template.Labels["rekindle.dev/mover"] != "true", j.Labels["rekindle.dev/owner"] != "rekindle":
			t.Errorf("%s: labels %v", name, j.Spec.Template.Labels)
		case len(c.Command) > 0:
			t.Errorf("%s: it needs more of the image than its entry point: %v", name, c.Command)
		case strings.Contains(fmt.Sprint(c.Args, c.Env), "horse"):
			t.Errorf("%s: a secret is in the open", name)
		}
	}
	if c := back.Spec.Template.Spec.Containers[0]; !c.VolumeMounts[0].ReadOnly || !slices.Equal(c.SecurityContext.Capabilities.Add, []corev1.Capability{"DAC_OVERRIDE"}) {
		t.Errorf("a backup can change data: %+v %v", c.VolumeMounts[0], c.SecurityContext.Capabilities.Add)
	}
	if terms := back.Spec.Template.Spec.Affinity.NodeAffinity.RequiredDuringSchedulingIgnoredDuringExecution.NodeSelectorTerms; terms[0].MatchFields[0].Values[0] != "node-1" {
		t.Errorf("it may run where the volume is not: %+v", terms)
	}
	if forth.Spec.Template.Spec.Affinity != nil {
		t.Error("a volume that nobody has mounted is bound to a node by its mover")
	}
	args := strings.Join(back.Spec.Template.Spec.Containers[0].Args, " ")
	for _, want := range []string{"backup", "--host prod", "set=set-1", "claim=shop/data-0", "/data"} {
		if !strings.Contains(args, want) {
			t.Errorf("restic gets %s, not %s", args, want)
		}
	}
}

func TestTheSecretGoesWithTheMover(t *testing.T) {
	j := job(backupTask(volume(), "prod", "set-1", ""), "m", "image")
	j.UID = "j-1"
	s := secret(j, state.Access{URL: "rest:http://u:horse@host/", Env: map[string]string{"RESTIC_PASSWORD": "battery"}})
	if s.StringData["RESTIC_REPOSITORY"] != "rest:http://u:horse@host/" || s.StringData["RESTIC_PASSWORD"] != "battery" {
		t.Errorf("it holds %v", s.StringData)
	}
	if owner := metav1.GetControllerOf(s); owner == nil || owner.UID != "j-1" || owner.Kind != "Job" {
		t.Errorf("it belongs to %+v", owner)
	}
	if from := j.Spec.Template.Spec.Containers[0].EnvFrom; len(from) != 1 || from[0].SecretRef.Name != s.Name {
		t.Errorf("the mover reads %+v", from)
	}
}

func TestClaimsWithoutDataAreToldApart(t *testing.T) {
	now := metav1.Now()
	for name, c := range map[string]struct {
		pvc                 corev1.PersistentVolumeClaim
		skipped, unreadable string
	}{
		"pending":   {pvc: corev1.PersistentVolumeClaim{Status: corev1.PersistentVolumeClaimStatus{Phase: corev1.ClaimPending}}, skipped: "no volume was ever bound"},
		"deleted":   {pvc: corev1.PersistentVolumeClaim{ObjectMeta: metav1.ObjectMeta{DeletionTimestamp: &now}}, skipped: "it is being deleted"},
		"ephemeral": {pvc: corev1.PersistentVolumeClaim{ObjectMeta: metav1.ObjectMeta{OwnerReferences: []metav1.OwnerReference{{Kind: "Pod", Name: "job-x", Controller: ptr.To(true)}}}}, skipped: "it ends with the pod job-x"},
		"lost":      {pvc: corev1.PersistentVolumeClaim{Status: corev1.PersistentVolumeClaimStatus{Phase: corev1.ClaimLost}, Spec: corev1.PersistentVolumeClaimSpec{VolumeName: "pv-1"}}, unreadable: "the volume pv-1 is gone"},
		"bound":     {pvc: corev1.PersistentVolumeClaim{Status: corev1.PersistentVolumeClaimStatus{Phase: corev1.ClaimBound}}},
	} {
		v := found(&c.pvc, nil)
		if !strings.Contains(v.Skipped, c.skipped) || (v.Skipped == "") != (c.skipped == "") {
			t.Errorf("%s is skipped for %q", name, v.Skipped)
		}
		if (v.Fault == nil) != (c.unreadable == "") || v.Fault != nil && !strings.Contains(v.Fault.Error(), c.unreadable) {
			t.Errorf("%s has the fault %v", name, v.Fault)
		}
	}
}

// What restic 0.18.1 prints.
const (
	backupLog = `{"message_type":"status","percent_done":0,"total_files":1,"total_bytes":3145728}
{"message_type":"status","percent_done":0.5,"total_files":4,"files_done":2,"total_bytes":6291456,"bytes_done":3145728,"current_files":["/data/x"]}
{"message_type":"summary","files_new":4,"total_files_processed":4,"total_bytes_processed":6291456,"snapshot_id":"1c950caf"}
`
	brokenLog = `{"message_type":"error","error":{"message":"read /data/x: input/output error"},"during":"archival","item":"/data/x"}
something in no JSON
{"message_type":"exit_error","code":1,"message":"Fatal: unable to save snapshot"}
`
)

func TestProgressIsReadFromTheLog(t *testing.T) {
	var told []string
	r := &reading{}
	if err := r.read(strings.NewReader(backupLog), func(u plan.Update) {
		told = append(told, fmt.Sprintf("%s, %d/%d %s", u.Waiting, u.Done, u.Total, u.Unit))
	}); err != nil {
		t.Fatal(err)
	}
	if !slices.Contains(told, "2 of 4 files, 3145728/6291456 bytes") {
		t.Errorf("told %q", told)
	}
	got, err := judge(r, &corev1.ContainerStateTerminated{})
	if err != nil || got.Snapshot != "1c950caf" || got.FilesProcessed != 4 || got.BytesProcessed != 6291456 {
		t.Errorf("read %+v, %v", got, err)
	}
}

func TestHowAMoverEnded(t *testing.T) {
	r := &reading{}
	if err := r.read(strings.NewReader(brokenLog), nil); err != nil {
		t.Fatal(err)
	}
	for want, ended := range map[string]*corev1.ContainerStateTerminated{
		"restic: exit code 1: read /data/x: input/output error; something in no JSON; unable to save snapshot": {ExitCode: 1},
		"the mover was ended: exit code 137":      {ExitCode: 137},
		"the mover was ended: its node restarted": {ExitCode: 255, Reason: "Unknown"},
		"the mover needs more memory than 1Gi":    {ExitCode: 137, Reason: "OOMKilled"},
		"restic ended without a summary":          {},
	} {
		if _, err := judge(r, ended); err == nil || !strings.HasPrefix(err.Error(), want) {
			t.Errorf("want %q, got %v", want, err)
		}
	}
	if _, err := judge(r, &corev1.ContainerStateTerminated{ExitCode: 137, Reason: "OOMKilled"}); len(fault.Hints(err)) == 0 {
		t.Error("who runs out of memory is told nothing to do")
	}
}

func TestAMoverThatIsToldToEndIsNoFailureOfRestic(t *testing.T) {
	r := &reading{}
	const log = "signal terminated received, cleaning up\nconfig cannot be loaded: context canceled\n"
	if err := r.read(strings.NewReader(log), nil); err != nil {
		t.Fatal(err)
	}
	if _, err := judge(r, &corev1.ContainerStateTerminated{ExitCode: 1}); !errors.Is(err, errEnded) {
		t.Errorf("got %v", err)
	}
}

func TestAFileThatGoesWhileItIsReadIsNoError(t *testing.T) {
	went := `{"message_type":"error","error":{"message":"incomplete metadata for /data/x: xattr.list /data/x: no such file or directory"},"during":"archival","item":"/data/x"}`
	warning := `{"message_type":"exit_error","code":3,"message":"Warning: at least one source file could not be read"}`
	other := `{"message_type":"error","error":{"message":"read /data/y: input/output error"},"during":"archival","item":"/data/y"}`
	whole := `{"message_type":"error","error":{"message":"lstat /data: no such file or directory"},"during":"archival","item":"/data"}`
	for name, c := range map[string]struct {
		log  []string
		fine bool
	}{
		"one went":                       {[]string{went, backupLog, warning}, true},
		"another could not be read":      {[]string{went, other, backupLog, warning}, false},
		"all of it is missing":           {[]string{whole, backupLog, warning}, false},
		"no error is told":               {[]string{backupLog, warning}, false},
		"nothing was written in the end": {[]string{went, warning}, false},
	} {
		r := &reading{}
		if err := r.read(strings.NewReader(strings.Join(c.log, "\n")), nil); err != nil {
			t.Fatal(err)
		}
		if got, err := judge(r, &corev1.ContainerStateTerminated{ExitCode: 3}); (err == nil) != c.fine || err == nil && got.Snapshot != "1c950caf" {
			t.Errorf("%s: got %+v, %v", name, got, err)
		}
	}
}

func TestOfManyErrorsTheFirstAndTheLastAreTold(t *testing.T) {
	r := &reading{}
	for i := range 100 {
		r.say(fmt.Sprint(i))
	}
	if got, want := r.words(), "0; 1; …; 97; 98; 99"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
}

func TestARestoreOfLessIsShort(t *testing.T) {
	claim := state.Claim{Files: 10, Bytes: 1000}
	whole := message{TotalFiles: 13, FilesRestored: 13, TotalBytes: 900, BytesRestored: 900} // a file of two names, folders
	for name, c := range map[string]struct {
		change func(m *message)
		want   string
	}{
		"all of it":          {func(*message) {}, ""},
		"most was in place":  {func(m *message) { *m = message{TotalFiles: 3, FilesRestored: 5, FilesSkipped: 9, BytesSkipped: 900} }, ""},
		"nothing":            {func(m *message) { *m = message{} }, "nothing came back"},
		"fewer than known":   {func(m *message) { m.TotalFiles, m.FilesRestored = 10, 10 }, "10 of 10 files"},
		"fewer than wanted":  {func(m *message) { m.FilesRestored = 12 }, "12 of 13 files"},
		"fewer bytes":        {func(m *message) { m.BytesRestored = 899 }, "899 B of 1000 B"},
		"files without data": {func(m *message) { m.TotalBytes, m.BytesRestored = 0, 0 }, "0 B of 1000 B"},
	} {
		m := whole
		c.change(&m)
		if got := short(&m, claim); got != c.want {
			t.Errorf("%s: %q, want %q", name, got, c.want)
		}
	}
	if got := short(&message{TotalFiles: 1, FilesRestored: 1}, state.Claim{}); got != "" {
		t.Errorf("an empty volume: %q", got)
	}
}
