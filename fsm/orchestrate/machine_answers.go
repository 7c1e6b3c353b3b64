package orchestrate

import (
	"strings"
	"time"
	"unicode"

	"github.com/muster-hq/muster/fsm/model"
	"github.com/muster-hq/muster/fsm/state"
)

// MachineAnswer is what a driver answered, to be recorded.
type MachineAnswer struct {
	Handle     string              // what it calls the machine; "": as before
	State      model.InstanceState // "": not told
	Gone       bool                // there is no such machine
	Properties map[string]string   // of the machine

	Error string // why it failed; "" when it did not
	Final bool   // no further attempt will do better
	// Again is how long to wait before the step is tried, or the machine looked at, again.
	Again time.Duration
	// Within is how long after the beginning of the work the machine's agent may take to enrol; 0: any time.
	Within time.Duration
	// PowerWithin is how long a power action may take until the machine is in the state that it leads to; 0: any time.
	PowerWithin time.Duration
}

// The limits of what is kept of an answer.
const (
	maxHandle       = 4096 // bytes
	maxMachineError = 1024 // bytes
)

// RecordMachine writes down what a driver answered to the work on a machine, and what is to be done next. mark is that of the
// work which the driver was asked about: an answer that comes when other work has taken its place is dropped.
func RecordMachine(tx *state.Tx, instanceID, mark string, a MachineAnswer) error {
	w, ok := state.Edit[model.MachineWork](tx, instanceID)
	if !ok || w.Mark != mark || w.Failed {
		return nil
	}
	if len(a.Handle) > maxHandle {
		a.Error, a.Final, a.Handle = "the driver's name for the machine is too long", true, ""
	}
	i, ok := state.Edit[model.InstanceRow](tx, w.HostID)
	if ok = ok && i.ID == instanceID; !ok {
		i = nil
	}
	if a.Error != "" {
		return machineFails(tx, w, i, a)
	}
	if w.Do == model.DoDestroy {
		state.Delete[model.MachineWork](tx, instanceID)
		return tellWork(tx, w.HostID, "", "machine: it was destroyed")
	}
	if i == nil { // its host is gone with it
		state.Delete[model.MachineWork](tx, instanceID)
		return nil
	}
	w.Error, w.Attempts = "", 0
	switch w.Do {
	case model.DoCreate, model.DoAttach:
		return machineGrows(tx, w, i, a)
	case model.DoImage:
		return machinePictured(tx, w, i)
	}
	return machineTurns(tx, w, i, a)
}

// machineFails notes a failed attempt. What waits for an agent has run out of its time.
func machineFails(tx *state.Tx, w *model.MachineWork, i *model.InstanceRow, a MachineAnswer) error {
	w.Attempts++
	w.Error, w.Failed, w.Next = plainText(a.Error), a.Final, tx.Now().Add(a.Again)
	if a.Final {
		w.Next = time.Time{}
		if err := tellFailure(tx, w.HostID, "machine: "+string(w.Do)+" failed: "+w.Error); err != nil {
			return err
		}
	}
	if i != nil {
		turned := i.State
		switch {
		case a.Final && i.Provisioning, a.Final && w.Do == model.DoStart:
			turned = model.InstanceError
		case a.Final && a.State != "" && !i.Provisioning:
			turned = a.State
		}
		if i.Error != w.Error || i.State != turned || a.Handle != "" && a.Handle != i.Handle {
			i.Error, i.State = w.Error, turned
			if a.Handle != "" {
				i.Handle = a.Handle
			}
			i.Version++
			if err := state.Put(tx, i); err != nil {
				return err
			}
		}
	}
	return state.Put(tx, w)
}

// plainText is a driver's text on one line, within the limit.
func plainText(s string) string {
	s = strings.ToValidUTF8(s, "?")
	s = strings.Map(func(r rune) rune {
		if unicode.IsControl(r) {
			return ' '
		}
		return r
	}, s)
	if len(s) > maxMachineError {
		s = strings.ToValidUTF8(s[:maxMachineError], "")
	}
	return s
}

// machineGrows goes on with a machine that is being made.
func machineGrows(tx *state.Tx, w *model.MachineWork, i *model.InstanceRow, a MachineAnswer) error {
	changed := i.Error != ""
	i.Error = ""
	if a.Handle != "" && a.Handle != i.Handle {
		i.Handle, changed = a.Handle, true
	}
	if all := sortedProperties(i.Properties, properties(a.Properties)); len(all) != len(i.Properties) || !sameProperties(all, i.Properties) {
		i.Properties, changed = all, true
	}
	if changed {
		i.Version++
		if err := state.Put(tx, i); err != nil {
			return err
		}
	}
	switch {
	case !i.Provisioning: // its agent was faster than the driver's answer
		state.Delete[model.MachineWork](tx, w.InstanceID)
		return nil
	case a.Gone:
		return machineFails(tx, w, i, MachineAnswer{Error: "the machine is gone: it was made, and is not there any more", Final: true})
	case a.State != model.InstanceRunning:
		w.Step, w.Next = model.StepBoot, tx.Now().Add(a.Again)
		if a.Within > 0 && tx.Now().After(w.Begun.Add(a.Within)) {
			return machineFails(tx, w, i, MachineAnswer{Error: "the machine does not run after " + a.Within.String(), Final: true})
		}
	default:
		w.Step, w.Next = model.StepEnrol, time.Time{}
		if a.Within > 0 {
			w.Next = w.Begun.Add(a.Within)
		}
	}
	return state.Put(tx, w)
}

func sameProperties(a, b []model.Property) bool {
	for i := range a {
		if a[i] != b[i] {
			return false
		}
	}
	return true
}

// machineTurns goes on with a power action, until the machine is in the state that it leads to.
func machineTurns(tx *state.Tx, w *model.MachineWork, i *model.InstanceRow, a MachineAnswer) error {
	switch to := powerTo(w.Do); {
	case a.Gone:
		i.State = model.InstanceError
		return machineFails(tx, w, i, MachineAnswer{Error: "the machine is gone: somebody destroyed it; delete or forget the instance", Final: true})
	case a.State == to:
		i.State, i.Error = to, ""
		i.Version++
		if err := tellWork(tx, w.HostID, "", "machine: "+string(w.Do)+" is done, it is "+string(to)); err != nil {
			return err
		}
		state.Delete[model.MachineWork](tx, w.InstanceID)
		return state.Put(tx, i)
	case a.PowerWithin > 0 && tx.Now().After(w.Begun.Add(a.PowerWithin)):
		return machineFails(tx, w, i, MachineAnswer{
			Error: string(w.Do) + ": the machine is " + string(a.State) + " after " + a.PowerWithin.String() + ", not " + string(to), Final: true, State: a.State,
		})
	}
	w.Step, w.Next = model.StepBoot, tx.Now().Add(a.Again)
	return state.Put(tx, w)
}

// machinePictured ends the making of an image, with the distribution that was asked for.
func machinePictured(tx *state.Tx, w *model.MachineWork, i *model.InstanceRow) error {
	if w.Image.CreateDistribution {
		doc := model.Distribution{Name: w.Image.Name, Description: "made from the image " + w.Image.Name + " of " + w.Name, Settings: w.Image.Settings}
		if _, err := CreateDistribution(tx, w.OrgID, doc, ""); err != nil {
			return machineFails(tx, w, i, MachineAnswer{Error: "the image was made, the distribution was not: " + err.Error(), Final: true})
		}
	}
	state.Delete[model.MachineWork](tx, w.InstanceID)
	if err := tellWork(tx, w.HostID, "", "machine: the image "+w.Image.Name+" was made"); err != nil || i.Error == "" {
		return err
	}
	i.Error = ""
	i.Version++
	return state.Put(tx, i)
}

// DueMachines is the open work on machines that is due, and when the next of the rest is: zero when nothing has a time.
func DueMachines(r state.Reader, now time.Time) (due []*model.MachineWork, next time.Time) {
	for _, w := range state.List[model.MachineWork](r, model.OpenMachineWork) {
		switch {
		case w.Next.IsZero() && w.Step == model.StepEnrol: // as long as it takes
		case !w.Next.After(now):
			due = append(due, w)
		case next.IsZero() || w.Next.Before(next):
			next = w.Next
		}
	}
	return due, next
}
