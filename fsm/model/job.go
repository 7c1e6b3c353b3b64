package model

import (
	"bytes"
	"encoding/json"
	"strings"
	"time"
)

// JobAction is what a job does to what its input names.
type JobAction string

// The actions that this server knows. Others are stored, and fail when the job runs.
const (
	JobDeleteHost     JobAction = "DELETE_HOST" // with its machine
	JobProvisionHost  JobAction = "PROVISION_HOST"
	JobDeleteInstance JobAction = "DELETE_INSTANCE" // the host stays
	JobStartHost      JobAction = "START_HOST"
	JobPauseHost      JobAction = "PAUSE_HOST"
	JobResumeHost     JobAction = "RESUME_HOST"
	JobStopHost       JobAction = "STOP_HOST" // an orderly shutdown
	JobOffHost        JobAction = "POWEROFF_HOST"
	JobRebuildHost    JobAction = "REBUILD_HOST" // the whole expected state is applied again
	JobRunHandler     JobAction = "RUN_HANDLER"  // the input goes on with applications/APP/handlers/NAME
)

// JobActions are all of them.
func JobActions() []JobAction {
	return []JobAction{JobDeleteHost, JobProvisionHost, JobDeleteInstance, JobStartHost, JobPauseHost, JobResumeHost, JobStopHost, JobOffHost, JobRebuildHost, JobRunHandler}
}

// Job is the document of contract section 3.6: an action that is due at a date, once, or by a time table.
type Job struct {
	UUID         string          `json:"uuid"`
	Version      int             `json:"version"`
	Name         string          `json:"name"`
	Description  string          `json:"description"`
	Organization string          `json:"organization"`
	Enabled      json.RawMessage `json:"enabled"` // true, false, or either as text; kept as given
	Cron         string          `json:"cron"`
	Date         string          `json:"date"`
	Action       string          `json:"action"`
	Input        string          `json:"input"`
	Operation    json.RawMessage `json:"operation"` // an object, kept as given

	// Ours: what became of it.
	Next      string `json:"nextRun,omitempty"`
	LastRun   string `json:"lastRun,omitempty"`
	LastError string `json:"lastError,omitempty"`

	carried carried
}

type jobFields Job

// UnmarshalJSON reads the document and carries the rest along.
func (j *Job) UnmarshalJSON(data []byte) error {
	var f jobFields
	rest, err := readCarried(data, &f)
	f.carried = rest
	*j = Job(f)
	return err
}

// MarshalJSON writes the document with what it carries. The fields of every job are always there.
func (j Job) MarshalJSON() ([]byte, error) {
	f := jobFields(j)
	rest := always(f.carried, nil, nil)
	for _, name := range []string{"cron", "date", "input"} {
		if _, carried := rest[name]; !carried {
			rest[name] = json.RawMessage(`""`)
		}
	}
	return writeCarried(&f, rest)
}

// Normalize fills in what answers always have, and drops what only the server sets.
func (j *Job) Normalize() {
	j.UUID, j.Version, j.Organization, j.Next, j.LastRun, j.LastError = "", 0, "", "", "", ""
	if len(j.Enabled) == 0 || string(j.Enabled) == "null" {
		j.Enabled = json.RawMessage("true")
	}
	if len(j.Operation) == 0 || string(j.Operation) == "null" {
		j.Operation = json.RawMessage(`{"operation":"NONE","description":"","arguments":[]}`)
	}
	j.Cron = strings.Join(strings.Fields(j.Cron), " ")
}

// OperationArguments says whether the operation has arguments. One that is no object, or whose arguments are not readable, has.
func (j *Job) OperationArguments() bool {
	if len(j.Operation) == 0 || string(j.Operation) == "null" {
		return false
	}
	var op struct {
		Arguments json.RawMessage `json:"arguments"`
	}
	if json.Unmarshal(j.Operation, &op) != nil {
		return true
	}
	switch string(bytes.Join(bytes.Fields(op.Arguments), nil)) {
	case "", "null", "[]", "{}", `""`:
		return false
	}
	return true
}

// On says whether the job is enabled; false, when Enabled is neither.
func (j *Job) On() (on, ok bool) {
	switch strings.ToLower(strings.Trim(string(j.Enabled), `"`)) {
	case "true":
		return true, true
	case "false", "":
		return false, true
	}
	return false, false
}

// Validate refuses a job that is wrong. Every fault is one message of the error, which is Invalid.
func (j *Job) Validate() error {
	var c checker
	c.check(CheckName("job", j.Name))
	if _, ok := j.On(); !ok {
		c.fail("enabled is %s: give true or false", j.Enabled)
	}
	if j.Cron != "" {
		_, err := ParseCron(j.Cron)
		c.check(err)
	}
	_, err := ParseTime("date", j.Date)
	c.check(err)
	if !bytes.HasPrefix(bytes.TrimSpace(j.Operation), []byte("{")) {
		c.fail("operation is not an object: give one, such as {\"operation\": \"NONE\"}, or leave it out")
	}
	switch {
	case j.Action == "":
		c.fail("action is missing: give what the job is to do, such as %s", JobDeleteHost)
	case CheckName("action", j.Action) != nil:
		c.check(CheckName("action", j.Action))
	}
	if j.Input != "" {
		_, err := ParseJobInput(j.Input)
		c.check(err)
	}
	return c.err()
}

// JobTarget is what an input names.
type JobTarget struct{ Organization, Environment, Host, Application, Handler string }

// ParseJobInput reads the path of a job's target: organizations/O/environments/E/hosts/H, which may go on with
// applications/A/handlers/N. Errors are Invalid.
func ParseJobInput(input string) (JobTarget, error) {
	var t JobTarget
	parts := strings.Split(strings.Trim(input, "/"), "/")
	words := []string{"organizations", "environments", "hosts", "applications", "handlers"}
	into := []*string{&t.Organization, &t.Environment, &t.Host, &t.Application, &t.Handler}
	ok := len(parts) == 6 || len(parts) == 10
	for i := 0; ok && i < len(parts); i += 2 {
		ok = parts[i] == words[i/2] && parts[i+1] != ""
		*into[i/2] = parts[i+1]
	}
	if !ok {
		return JobTarget{}, Errorf(Invalid, "input is %q: give the path of a host, organizations/ORG/environments/ENV/hosts/HOST, with /applications/APP/handlers/NAME behind it for %s", input, JobRunHandler)
	}
	return t, nil
}

// JobMaker is who a job acts for: who wrote it last.
type JobMaker struct {
	UserID string `json:"userId,omitempty"`
	KeyID  string `json:"keyId,omitempty"` // of an application key
	Name   string `json:"name"`
}

// JobRow is what is kept of a job.
type JobRow struct {
	Definition
	Document Job       `json:"document"`
	Maker    JobMaker  `json:"maker"`
	Next     time.Time `json:"next,omitzero"` // when it is due; zero: never by itself
	LastRun  time.Time `json:"lastRun,omitzero"`
	Error    string    `json:"error,omitempty"` // of the last run
	Runs     int       `json:"runs,omitempty"`
}

// Table names the table of jobs.
func (*JobRow) Table() string { return "job" }

// Ranges: those of the organization, the name there, and those that are due some time.
func (j *JobRow) Ranges() []string {
	rs := j.Definition.Ranges()
	if !j.Next.IsZero() {
		rs = append(rs, ScheduledJobs)
	}
	return rs
}

// Parent is the organization.
func (j *JobRow) Parent() (table, key string) { return "organization", j.OwnerID }

// ScheduledJobs is the range of all jobs that are due some time.
const ScheduledJobs = "scheduled"

// NextRun is when a job is due after a time: by its table, not before its date; without a table at its date, once. Zero is never.
func (j *JobRow) NextRun(after time.Time) time.Time {
	if on, _ := j.Document.On(); !on {
		return time.Time{}
	}
	date, err := ParseTime("date", j.Document.Date)
	if err != nil {
		return time.Time{}
	}
	if j.Document.Cron == "" {
		if !date.IsZero() && j.LastRun.Before(date) {
			return date
		}
		return time.Time{}
	}
	c, err := ParseCron(j.Document.Cron)
	if err != nil {
		return time.Time{}
	}
	if date.After(after) {
		after = date.Add(-time.Minute)
	}
	return c.Next(after)
}
