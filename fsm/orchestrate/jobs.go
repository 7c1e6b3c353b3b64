package orchestrate

import (
	"encoding/json"
	"fmt"
	"strings"
	"time"

	"github.com/muster-hq/muster/fsm/model"
	"github.com/muster-hq/muster/fsm/state"
)

// JobWorld is what jobs ask of what is around them when they run.
type JobWorld struct {
	// Driver tells of the driver of a class, false when there is none.
	Driver func(class string) (DriverInfo, bool)
	// May says whether who the job acts for may change a host.
	May func(r state.Reader, m model.JobMaker, h *model.HostRow) bool
}

// Jobs lists the jobs of an organization by name.
func Jobs(r state.Reader, orgID string) []*model.JobRow {
	return byName(state.List[model.JobRow](r, model.DefinitionsOf(orgID)), func(j *model.JobRow) string { return j.Name })
}

// JobByName finds a job. Error: NotFound.
func JobByName(r state.Reader, orgID, name string) (*model.JobRow, error) {
	j, ok := state.Find[model.JobRow](r, model.DefinitionNamed(orgID, name))
	if !ok {
		return nil, model.Errorf(model.NotFound, "job %q not found", name)
	}
	return j, nil
}

// JobDoc is the document of a job.
func JobDoc(r state.Reader, j *model.JobRow) model.Job {
	doc := j.Document
	doc.UUID, doc.Version, doc.Organization = j.ID, j.Version, organizationName(r, j.OrgID)
	doc.Next, doc.LastRun, doc.LastError = model.FormatTime(j.Next), model.FormatTime(j.LastRun), j.Error
	return doc
}

func newJob(orgID string, doc model.Job) *model.JobRow {
	doc.Normalize()
	return &model.JobRow{Definition: model.Definition{ID: newID(), OrgID: orgID, OwnerID: orgID, Version: 1, Name: doc.Name}, Document: doc}
}

// CreateJob creates a job that acts for maker. Errors: NotFound (the organization), Invalid (also a date that is past, without a table), Conflict (the name is taken).
func CreateJob(tx *state.Tx, orgID string, doc model.Job, maker model.JobMaker) (*model.JobRow, error) {
	if _, err := OrganizationByID(tx, orgID); err != nil {
		return nil, err
	}
	j := newJob(orgID, doc)
	if err := putJob(tx, j, maker, ""); err != nil {
		return nil, err
	}
	return j, notPast(tx, j, time.Time{})
}

// lateJob is how late the date of a job may come: who asks for now means now.
const lateJob = time.Minute

// notPast refuses a job that would run at once, once, since it was given a date that has passed. was is when it was due
// before. Error: Invalid.
func notPast(tx *state.Tx, j *model.JobRow, was time.Time) error {
	if j.Document.Cron != "" || j.Next.IsZero() || j.Next.Equal(was) || j.Next.After(tx.Now().Add(-lateJob)) {
		return nil
	}
	return model.Errorf(model.Invalid, "date is %s, which is past, and there is no cron: give a time to come, or run the job by hand", j.Document.Date)
}

// ImportJob creates a job of an organization that is being imported, as it was: enabled or not. It runs once the organization is
// there. One that was due once, at a date that has passed, is not made up for: its organization went on elsewhere. Errors: as of
// CreateJob.
func ImportJob(tx *state.Tx, orgID string, doc model.Job, maker model.JobMaker) error {
	j := newJob(orgID, doc)
	err := putJob(tx, j, maker, "")
	if err != nil || j.Document.Cron != "" || j.Next.After(tx.Now()) {
		return err
	}
	j.Next = time.Time{}
	return state.Put(tx, j)
}

// putJob checks and writes a job that was made or changed, and says when it is due next.
func putJob(tx *state.Tx, j *model.JobRow, maker model.JobMaker, was string) error {
	if err := j.Document.Validate(); err != nil {
		return err
	}
	own := organizationName(tx, j.OrgID)
	if o, ok := state.Get[model.OrganizationRow](tx, j.OrgID); ok && o.Importing != nil {
		own = o.Importing.Name
	}
	if t, err := model.ParseJobInput(j.Document.Input); err == nil && t.Organization != own {
		return model.Errorf(model.Invalid, "input is %q: a job acts within its own organization, %q", j.Document.Input, own)
	}
	if j.Document.Name != was {
		if _, taken := state.Find[model.JobRow](tx, model.DefinitionNamed(j.OrgID, j.Document.Name)); taken {
			return taken409("job", j.Document.Name)
		}
	}
	j.Name, j.Maker = j.Document.Name, maker
	j.Next = j.NextRun(tx.Now())
	return state.Put(tx, j)
}

// UpdateJob changes the fields that are given; the job acts for maker from then on. Errors: as of CreateJob.
func UpdateJob(tx *state.Tx, orgID, name string, patch []byte, maker model.JobMaker) (*model.JobRow, error) {
	found, err := JobByName(tx, orgID, name)
	if err != nil {
		return nil, err
	}
	j, _ := state.Edit[model.JobRow](tx, found.ID)
	doc, err := model.Merge(j.Document, patch)
	if err != nil {
		return nil, err
	}
	doc.Normalize()
	if doc.Date != j.Document.Date {
		j.LastRun = time.Time{} // another date is another run
	}
	due := j.Next
	j.Document = doc
	j.Version++
	if err := putJob(tx, j, maker, j.Name); err != nil {
		return nil, err
	}
	return j, notPast(tx, j, due)
}

// DeleteJob deletes a job. Error: NotFound.
func DeleteJob(tx *state.Tx, orgID, name string) error {
	j, err := JobByName(tx, orgID, name)
	if err != nil {
		return err
	}
	state.Delete[model.JobRow](tx, j.ID)
	return nil
}

// DueJobs are the ids of the jobs that are due, and when the next of the others is; zero when none is.
func DueJobs(r state.Reader, now time.Time) (due []string, next time.Time) {
	for _, j := range state.List[model.JobRow](r, model.ScheduledJobs) {
		switch {
		case !OrganizationThere(r, j.OrgID): // it is being imported
		case !j.Next.After(now):
			due = append(due, j.ID)
		case next.IsZero() || j.Next.Before(next):
			next = j.Next
		}
	}
	return due, next
}

// RunDueJob does what a job is due for, and says when it is due next, in one transaction: once, whoever tries. It does nothing
// when the job is not due any more. What it missed meanwhile is not made up for. The error is of the action, and then nothing
// was done; FailDueJob writes it down.
func RunDueJob(tx *state.Tx, id string, w JobWorld) error {
	j, ok := state.Edit[model.JobRow](tx, id)
	if !ok || j.Next.IsZero() || j.Next.After(tx.Now()) || !OrganizationThere(tx, j.OrgID) {
		return nil
	}
	if err := act(tx, j, j.Maker, w); err != nil {
		return err
	}
	return ranJob(tx, j, "")
}

// FailDueJob writes down why a job that is due could not run, and when it is due next.
func FailDueJob(tx *state.Tx, id string, failed error) error {
	j, ok := state.Edit[model.JobRow](tx, id)
	if !ok || j.Next.IsZero() || j.Next.After(tx.Now()) {
		return nil
	}
	text := "the server could not do it; its log says why"
	if code := model.CodeOf(failed); code != model.Internal {
		text = plainText(failed.Error())
	}
	return ranJob(tx, j, text)
}

func ranJob(tx *state.Tx, j *model.JobRow, failed string) error {
	if _, there := state.Get[model.JobRow](tx, j.ID); !there {
		return nil // it deleted what it belongs to
	}
	if err := tellJob(tx, j, failed); err != nil {
		return err
	}
	j.LastRun, j.Error, j.Runs = tx.Now(), failed, j.Runs+1
	if j.Document.Cron == "" {
		j.Document.Enabled = json.RawMessage("false") // once
	}
	j.Next = j.NextRun(tx.Now())
	return state.Put(tx, j)
}

// tellJob tells that a job ran, in the log of all else, and that it failed, to whom it concerns.
func tellJob(tx *state.Tx, j *model.JobRow, failed string) error {
	what := fmt.Sprintf("job %s: %s %s", j.Name, j.Document.Action, j.Document.Input)
	if failed == "" {
		return Tell(tx, model.OtherLogOf(j.OrgID), "", "", what+" was run"+by(tx))
	}
	what += " failed: " + failed
	if err := Tell(tx, model.OtherLogOf(j.OrgID), "", "", what); err != nil {
		return err
	}
	if err := Tell(tx, model.NotificationLogOf(j.OrgID), "", "", what); err != nil {
		return err
	}
	return notifyOrg(tx, model.NoticeError, j.OrgID, "job "+j.Name, what)
}

// moveJobs rewrites the inputs of jobs that pass through an address that changes.
func moveJobs(tx *state.Tx, orgID, was, is string) error {
	for _, id := range state.Keys[model.JobRow](tx, model.DefinitionsOf(orgID)) {
		j, ok := state.Get[model.JobRow](tx, id)
		if !ok || !strings.HasPrefix(strings.Trim(j.Document.Input, "/")+"/", was+"/") {
			continue
		}
		j, _ = state.Edit[model.JobRow](tx, id)
		j.Document.Input = is + strings.TrimPrefix(strings.Trim(j.Document.Input, "/"), was)
		j.Version++
		if err := state.Put(tx, j); err != nil {
			return err
		}
	}
	return nil
}

// RunJob does what a job is for now, for maker, whatever its time table says. Errors: NotFound (the job), Conflict and Invalid
// of the action.
func RunJob(tx *state.Tx, orgID, name string, maker model.JobMaker, w JobWorld) error {
	found, err := JobByName(tx, orgID, name)
	if err != nil {
		return err
	}
	j, _ := state.Edit[model.JobRow](tx, found.ID)
	if err := act(tx, j, maker, w); err != nil {
		if model.CodeOf(err) == model.NotFound { // the job is there: of a 404 the published client says that it is not
			return model.Errorf(model.Conflict, "job %q: %s", j.Name, err)
		}
		return err
	}
	if err := tellJob(tx, j, ""); err != nil {
		return err
	}
	j.LastRun, j.Error, j.Runs = tx.Now(), "", j.Runs+1
	if j.Document.Cron == "" && !j.Next.IsZero() && !j.Next.After(tx.Now()) {
		j.Next = time.Time{}
	}
	return state.Put(tx, j)
}

// JobTarget is the host that a job acts on; nil when it is not there.
func JobTarget(r state.Reader, j *model.JobRow) *model.HostRow {
	t, err := model.ParseJobInput(j.Document.Input)
	if err != nil {
		return nil
	}
	e, err := EnvironmentByName(r, j.OrgID, t.Environment)
	if err != nil {
		return nil
	}
	h, err := HostByName(r, j.OrgID, e.ID, t.Host)
	if err != nil {
		return nil
	}
	return h
}

// act does a job's action. A host that who it acts for may not change is told as one that is not there.
func act(tx *state.Tx, j *model.JobRow, maker model.JobMaker, w JobWorld) error {
	t, err := model.ParseJobInput(j.Document.Input)
	if err != nil {
		return err
	}
	if own := organizationName(tx, j.OrgID); t.Organization != own {
		return model.Errorf(model.Conflict, "input names organization %q: a job acts within its own, %q", t.Organization, own)
	}
	h := JobTarget(tx, j)
	if h == nil || !w.May(tx, maker, h) {
		return model.Errorf(model.NotFound, "there is no host %s/%s that %s may change", t.Environment, t.Host, maker.Name)
	}
	switch do := model.JobAction(j.Document.Action); do {
	case model.JobDeleteHost:
		if _, ok := state.Get[model.InstanceRow](tx, h.ID); ok {
			if err := Destroy(tx, j.OrgID, h.ID); err != nil {
				return err
			}
		}
		return DeleteHost(tx, j.OrgID, h.ID)
	case model.JobProvisionHost:
		return Provision(tx, j.OrgID, h.ID, w.Driver)
	case model.JobDeleteInstance:
		return Destroy(tx, j.OrgID, h.ID)
	case model.JobStartHost, model.JobPauseHost, model.JobResumeHost, model.JobStopHost, model.JobOffHost:
		return Power(tx, j.OrgID, h.ID, jobPower(do), w.Driver)
	case model.JobRebuildHost:
		_, err := Rebuild(tx, j.OrgID, h.ID)
		return err
	case model.JobRunHandler:
		if t.Handler == "" {
			return model.Errorf(model.Conflict, "input names no handler: let it end in /applications/APP/handlers/NAME")
		}
		_, err := RunHandler(tx, j.OrgID, h.ID, t.Application, t.Handler)
		return err
	}
	var known []string
	for _, a := range model.JobActions() {
		known = append(known, string(a))
	}
	return model.Errorf(model.Conflict, "this server does not know the action %q: use one of %s", j.Document.Action, strings.Join(known, ", "))
}

func jobPower(do model.JobAction) model.MachineDo {
	switch do {
	case model.JobStartHost:
		return model.DoStart
	case model.JobPauseHost:
		return model.DoPause
	case model.JobResumeHost:
		return model.DoResume
	case model.JobStopHost:
		return model.DoStop
	}
	return model.DoOff
}

// Busy says whether something is under way on a host: its machine is being made or turned, or changes are open.
func Busy(r state.Reader, hostID string) bool {
	i, ok := state.Get[model.InstanceRow](r, hostID)
	if !ok {
		return false
	}
	if w, ok := state.Get[model.MachineWork](r, i.ID); ok && !w.Failed {
		return true
	}
	return len(state.Keys[model.Change](r, model.OpenChangesOf(hostID))) > 0
}
