package orchestrate

import (
	"cmp"
	"crypto/ed25519"
	"crypto/hkdf"
	"crypto/sha256"
	"encoding/hex"
	"slices"
	"strings"
	"time"

	"github.com/muster-hq/muster/fsm/model"
	"github.com/muster-hq/muster/fsm/state"
)

// DriverInfo is what requests have to know of a driver.
type DriverInfo struct {
	Name, Text string
	Power      bool // it starts and stops machines
	Images     bool // it makes images
}

// Provision begins to make a host its machine, on its platform, by the platform's driver. The host is PROVISIONING from then
// on. One whose provisioning failed for good is tried again. info is of the driver that the platform's class names, nil when
// there is none. Errors: NotFound (the host), Conflict (no platform, no driver, there is a machine).
func Provision(tx *state.Tx, orgID, hostID string, driver func(class string) (DriverInfo, bool)) error {
	h, err := HostByID(tx, orgID, hostID)
	if err != nil {
		return err
	}
	if i, ok := state.Edit[model.InstanceRow](tx, hostID); ok {
		return provisionAgain(tx, h, i)
	}
	return begin(tx, h, driver, model.MachineWork{Do: model.DoCreate, Step: model.StepCall}, nil)
}

// Reattach records a machine that exists already (contract section 2.1): none is made; the host goes through provisioning, and
// is ready when the machine's agent has enrolled with its token. Errors: as of Provision; Invalid (a property).
func Reattach(tx *state.Tx, orgID, hostID string, props []model.Property, driver func(class string) (DriverInfo, bool)) error {
	h, err := HostByID(tx, orgID, hostID)
	if err != nil {
		return err
	}
	if err := checkProperties(props); err != nil {
		return err
	}
	if _, ok := state.Get[model.InstanceRow](tx, hostID); ok {
		return model.Errorf(model.Conflict, "host %q has an instance already: delete or forget it first", h.Name)
	}
	return begin(tx, h, driver, model.MachineWork{Do: model.DoAttach, Step: model.StepCall}, sortedProperties(nil, props))
}

// checkProperties refuses properties that could not be kept.
func checkProperties(props []model.Property) error {
	if len(props) > maxFacts {
		return model.Errorf(model.Invalid, "%d properties are too many: give at most %d", len(props), maxFacts)
	}
	names := factNames()
	for i, p := range props {
		switch {
		case !names.MatchString(p.Key):
			return model.Errorf(model.Invalid, "property %d: the key %q is not usable: give letters, digits, dots, dashes, colons and underscores, at most 64, beginning with a letter", i, p.Key)
		case len(p.Value) > maxFactValue:
			return model.Errorf(model.Invalid, "property %q: the value has %d bytes: give at most %d", p.Key, len(p.Value), maxFactValue)
		case slices.ContainsFunc(props[:i], func(o model.Property) bool { return o.Key == p.Key }):
			return model.Errorf(model.Invalid, "property %q is there twice: keep one", p.Key)
		}
	}
	return nil
}

// begin makes the instance of a host with the work that gives it its machine, and the token of the machine's agent.
func begin(tx *state.Tx, h *model.HostRow, driver func(string) (DriverInfo, bool), w model.MachineWork, props []model.Property) error {
	_, p, err := PlatformOf(tx, h.OrgID, h.ID)
	if err != nil {
		return model.Errorf(model.Conflict, "host %q has no platform, so nothing says where its machine is to be made: give it one first", h.Name)
	}
	class := p.Document.Driver.ClassName
	if _, ok := driver(class); !ok {
		return noDriver(p)
	}
	i := &model.InstanceRow{
		ID: newID(), OrgID: h.OrgID, HostID: h.ID, Version: 1, State: model.InstanceStarting, Properties: props, Created: tx.Now(),
		Provisioning: true, PlatformID: p.ID,
	}
	if err := state.Put(tx, i); err != nil {
		return err
	}
	if _, err := EnsureMachineToken(tx, i); err != nil {
		return err
	}
	return beginWork(tx, h, i, class, w)
}

func noDriver(p *model.PlatformRow) error {
	return model.Errorf(model.Conflict, "platform %q names the driver %s, which this server does not have: the platform is kept, but makes no machines", p.Name, p.Document.Driver.ClassName)
}

// beginWork writes what is to be done to a machine.
func beginWork(tx *state.Tx, h *model.HostRow, i *model.InstanceRow, class string, w model.MachineWork) error {
	w.InstanceID, w.OrgID, w.HostID, w.PlatformID, w.Class = i.ID, i.OrgID, i.HostID, i.PlatformID, class
	w.Name, w.Mark, w.Begun, w.Actor = canonicalName(tx, h), newID(), tx.Now(), tx.Actor()
	if err := tellWork(tx, h.ID, model.NoticeExecute, "machine: "+string(w.Do)+" begins"+by(tx)); err != nil {
		return err
	}
	return state.Put(tx, &w)
}

// provisionAgain tries again what failed for good.
func provisionAgain(tx *state.Tx, h *model.HostRow, i *model.InstanceRow) error {
	w, ok := state.Edit[model.MachineWork](tx, i.ID)
	if !ok || !w.Failed || !i.Provisioning {
		return model.Errorf(model.Conflict, "host %q has an instance already: delete or forget it first", h.Name)
	}
	restart(tx, w)
	if w.Step == model.StepEnrol { // the machine is looked at again, and made again when it is gone
		w.Step = model.StepCall
	}
	i.State, i.Error = model.InstanceStarting, ""
	i.Version++
	if err := state.Put(tx, i); err != nil {
		return err
	}
	return state.Put(tx, w)
}

// restart makes failed work new.
func restart(tx *state.Tx, w *model.MachineWork) {
	w.Failed, w.Attempts, w.Error, w.Next, w.Begun, w.Mark = false, 0, "", time.Time{}, tx.Now(), newID()
}

// MachineToken derives the enrolment token of an instance: its id and the seed of its key. It is made of the organization's
// signing key and is kept nowhere, so that every leader gives a driver that is asked again the same one.
func MachineToken(r state.Reader, orgID, instanceID string) (id string, seed []byte, err error) {
	key, err := SigningKey(r, orgID)
	if err != nil {
		return "", nil, err
	}
	const idBytes = 8
	raw, err := hkdf.Key(sha256.New, key.Seed(), nil, "muster: token of machine "+instanceID, ed25519.SeedSize+idBytes)
	if err != nil {
		return "", nil, model.Errorf(model.Internal, "derive the token of a machine: %v", err)
	}
	return hex.EncodeToString(raw[ed25519.SeedSize:]), raw[:ed25519.SeedSize], nil
}

// EnsureMachineToken keeps the public half of the token with which the agent of an instance enrols, once.
func EnsureMachineToken(tx *state.Tx, i *model.InstanceRow) (*model.EnrolToken, error) {
	h, err := HostByID(tx, i.OrgID, i.HostID)
	if err != nil {
		return nil, err
	}
	id, seed, err := MachineToken(tx, i.OrgID, i.ID)
	if err != nil {
		return nil, err
	}
	if t, ok := state.Get[model.EnrolToken](tx, id); ok {
		return t, nil
	}
	t := &model.EnrolToken{
		ID: id, OrgID: i.OrgID, EnvID: h.EnvID, PublicKey: ed25519.NewKeyFromSeed(seed).Public().(ed25519.PublicKey), Uses: 1,
		Created: tx.Now(), Creator: tx.Actor(), HostID: i.HostID, InstanceID: i.ID,
	}
	return t, state.Put(tx, t)
}

// MachineTokenOf makes sure that the token of a host's machine is there, and gives it to be handed out. Errors: NotFound (the
// host, the instance), Conflict (the machine's agent has enrolled).
func MachineTokenOf(tx *state.Tx, orgID, hostID string) (*model.EnrolToken, *model.InstanceRow, error) {
	h, err := HostByID(tx, orgID, hostID)
	if err != nil {
		return nil, nil, err
	}
	i, ok := state.Get[model.InstanceRow](tx, hostID)
	switch {
	case !ok:
		return nil, nil, noInstance(model.NotFound, h)
	case !i.Provisioning:
		return nil, nil, model.Errorf(model.Conflict, "the machine of host %q has its agent: its token is used up", h.Name)
	}
	t, err := EnsureMachineToken(tx, i)
	return t, i, err
}

// enrolMachine makes the machine that a token is bound to its host's, and queues the installation of what the host has.
func enrolMachine(tx *state.Tx, t *model.EnrolToken, facts map[string]string) (*model.HostRow, error) {
	i, ok := state.Edit[model.InstanceRow](tx, t.HostID)
	h, there := state.Get[model.HostRow](tx, t.HostID)
	if !ok || !there || i.ID != t.InstanceID {
		return nil, model.Errorf(model.Forbidden, "the machine that this enrolment token was made for is no more: provision its host again, and take the new token")
	}
	if _, has := state.Find[model.Agent](tx, model.AgentOfHost(h.ID)); has || !i.Provisioning {
		return nil, model.Errorf(model.Conflict, "the machine of host %q has an agent already", h.Name)
	}
	i.Provisioning, i.State, i.Error = false, model.InstanceRunning, ""
	i.Properties = knownProperties(h, i, facts)
	i.Version++
	if err := state.Put(tx, i); err != nil {
		return nil, err
	}
	if w, ok := state.Get[model.MachineWork](tx, i.ID); ok && (w.Step == model.StepEnrol || w.Failed) {
		state.Delete[model.MachineWork](tx, i.ID) // else the driver is still to tell what it calls the machine
	}
	if err := installAll(tx, h.ID); err != nil {
		return nil, err
	}
	if err := tellWork(tx, h.ID, model.NoticeProvisioned, "provisioned: the machine runs and its agent is there"); err != nil {
		return nil, err
	}
	counter, ok := state.Get[model.ChangeCounter](tx, h.ID)
	if !ok || len(state.Keys[model.Change](tx, model.OpenChangesOf(h.ID))) == 0 {
		return h, nil
	}
	i.Installs = counter.Next
	return h, state.Put(tx, i)
}

// hasMachine refuses what needs a machine with an agent. Error: Conflict.
func hasMachine(r state.Reader, h *model.HostRow) error {
	i, ok := state.Get[model.InstanceRow](r, h.ID)
	switch {
	case !ok:
		return noInstance(model.Conflict, h)
	case i.Provisioning:
		return model.Errorf(model.Conflict, "the machine of host %q has no agent yet: wait until the host is provisioned", h.Name)
	}
	return nil
}

// Destroy takes the machine of a host away: the host is DEFINED at once, and the driver that made the machine is to destroy it.
// A machine that enrolled by itself is only forgotten. Errors: NotFound, Conflict (it is locked).
func Destroy(tx *state.Tx, orgID, hostID string) error {
	i, err := instanceFor(tx, orgID, hostID)
	if err != nil {
		return err
	}
	h, err := HostByID(tx, orgID, hostID)
	if err != nil {
		return err
	}
	if err := DeleteInstance(tx, orgID, hostID); err != nil {
		return err
	}
	p, ok := state.Get[model.PlatformRow](tx, i.PlatformID)
	if !ok {
		return nil
	}
	return beginWork(tx, h, i, p.Document.Driver.ClassName,
		model.MachineWork{Do: model.DoDestroy, Step: model.StepCall, Handle: i.Handle, Properties: i.Properties})
}

// dropMachine forgets the work on the machine of a host and its token.
func dropMachine(tx *state.Tx, hostID string) {
	i, ok := state.Get[model.InstanceRow](tx, hostID)
	if !ok {
		return
	}
	state.Delete[model.MachineWork](tx, i.ID)
	if id, _, err := MachineToken(tx, i.OrgID, i.ID); err == nil {
		state.Delete[model.EnrolToken](tx, id)
	}
}

// Power asks for a power action (contract section 4.1): the state of the instance follows. Errors: NotFound, Conflict (the action
// does not fit the state, the instance is locked, something else is under way, the driver has no power over machines).
func Power(tx *state.Tx, orgID, hostID string, do model.MachineDo, driver func(class string) (DriverInfo, bool)) error {
	i, h, p, info, err := driven(tx, orgID, hostID, driver)
	if err != nil {
		return err
	}
	if !info.Power {
		return model.Errorf(model.Conflict, "platform %q (%s) has no power over its machines: do it at the machine itself", p.Name, info.Name)
	}
	if i.Locked && (do == model.DoStop || do == model.DoOff) {
		return model.Errorf(model.Conflict, "the instance is locked: unlock it first")
	}
	if from := powerFrom(do); !slices.Contains(from, i.State) {
		return model.Errorf(model.Conflict, "the machine of host %q is %s: to %s, it has to be %s", h.Name, i.State, inWords(do), joinStates(from))
	}
	if err := idle(tx, h, i); err != nil {
		return err
	}
	if do == model.DoStart {
		i.State = model.InstanceStarting
	}
	i.Error = ""
	i.Version++
	if err := state.Put(tx, i); err != nil {
		return err
	}
	return beginWork(tx, h, i, p.Document.Driver.ClassName, model.MachineWork{Do: do, Step: model.StepCall})
}

// by names who does it, for a line of a log.
func by(tx *state.Tx) string {
	if tx.Actor() == "" {
		return ""
	}
	return ", asked by " + tx.Actor()
}

// driven finds the machine of a host and the driver that has to do with it. Errors: NotFound, Conflict.
func driven(tx *state.Tx, orgID, hostID string, driver func(string) (DriverInfo, bool)) (i *model.InstanceRow, h *model.HostRow, p *model.PlatformRow, info DriverInfo, err error) {
	if i, err = instanceFor(tx, orgID, hostID); err != nil {
		return nil, nil, nil, info, err
	}
	if h, err = HostByID(tx, orgID, hostID); err != nil {
		return nil, nil, nil, info, err
	}
	p, ok := state.Get[model.PlatformRow](tx, i.PlatformID)
	switch {
	case !ok:
		return nil, nil, nil, info, model.Errorf(model.Conflict, "the machine of host %q enrolled by itself: no platform has power over it", h.Name)
	case i.Provisioning:
		return nil, nil, nil, info, model.Errorf(model.Conflict, "host %q is being provisioned: wait until it is ready, or delete the instance", h.Name)
	}
	if info, ok = driver(p.Document.Driver.ClassName); !ok {
		return nil, nil, nil, info, noDriver(p)
	}
	return i, h, p, info, nil
}

// idle refuses while something is done to a machine. What failed is over.
func idle(tx *state.Tx, h *model.HostRow, i *model.InstanceRow) error {
	if w, ok := state.Get[model.MachineWork](tx, i.ID); ok && !w.Failed {
		return model.Errorf(model.Conflict, "%s of the machine of host %q is under way since %s: wait for it", w.Do, h.Name, model.FormatTime(w.Begun))
	}
	return nil
}

// powerFrom are the states that an action fits.
func powerFrom(do model.MachineDo) []model.InstanceState {
	switch do {
	case model.DoStart:
		return []model.InstanceState{model.InstanceStopped, model.InstanceError}
	case model.DoResume:
		return []model.InstanceState{model.InstancePaused}
	case model.DoOff:
		return []model.InstanceState{model.InstanceRunning, model.InstancePaused, model.InstanceStarting, model.InstanceError}
	}
	return []model.InstanceState{model.InstanceRunning} // pause, stop
}

// powerTo is the state that an action leads to.
func powerTo(do model.MachineDo) model.InstanceState {
	switch do {
	case model.DoStart, model.DoResume:
		return model.InstanceRunning
	case model.DoPause:
		return model.InstancePaused
	}
	return model.InstanceStopped
}

func joinStates(states []model.InstanceState) string {
	var texts []string
	for _, s := range states {
		texts = append(texts, string(s))
	}
	return strings.Join(texts, " or ")
}

// CreateImage asks for an image of a machine. An image without a name gets that of its host. Errors: as of Power.
func CreateImage(tx *state.Tx, orgID, hostID string, image model.Image, driver func(class string) (DriverInfo, bool)) error {
	i, h, p, info, err := driven(tx, orgID, hostID, driver)
	if err != nil {
		return err
	}
	if !info.Images {
		return model.Errorf(model.Conflict, "platform %q (%s) makes no images", p.Name, info.Name)
	}
	if image.Name == "" {
		image.Name = h.Name
	}
	if err := model.CheckName("image", image.Name); err != nil {
		return err
	}
	if image.CreateDistribution {
		if _, err := DistributionByName(tx, orgID, image.Name); err == nil {
			return taken409("distribution", image.Name)
		}
	}
	if err := idle(tx, h, i); err != nil {
		return err
	}
	return beginWork(tx, h, i, p.Document.Driver.ClassName, model.MachineWork{Do: model.DoImage, Step: model.StepCall, Image: &image})
}

// machineWaits says what the machine of a host waits for; "" when nothing is done to it.
func machineWaits(r state.Reader, i *model.InstanceRow) string {
	w, ok := state.Get[model.MachineWork](r, i.ID)
	if !ok || w.Failed {
		return ""
	}
	switch {
	case w.Step == model.StepEnrol:
		return "the machine is there: its agent is to enrol with the machine's own token"
	case w.Error != "":
		return string(w.Do) + ": it is tried again at " + model.FormatTime(w.Next)
	case w.Step == model.StepBoot:
		return string(w.Do) + ": the driver was asked, and is looked after"
	}
	return string(w.Do) + ": the driver is asked"
}

// Machines lists the work on the machines of an organization, the oldest first.
func Machines(r state.Reader, orgID string) []model.Machine {
	rows := slices.Clone(state.List[model.MachineWork](r, model.MachineWorkOf(orgID)))
	slices.SortFunc(rows, func(a, b *model.MachineWork) int {
		return cmp.Or(a.Begun.Compare(b.Begun), cmp.Compare(a.InstanceID, b.InstanceID))
	})
	out := []model.Machine{}
	for _, w := range rows {
		out = append(out, MachineDoc(r, w))
	}
	return out
}

// MachineDoc tells of the work on a machine.
func MachineDoc(r state.Reader, w *model.MachineWork) model.Machine {
	doc := model.Machine{
		ID: w.InstanceID, Organization: organizationName(r, w.OrgID), Host: w.Name, Do: w.Do, Step: string(w.Step), Attempts: w.Attempts,
		Next: model.FormatTime(w.Next), Error: w.Error, Failed: w.Failed, Begun: model.FormatTime(w.Begun),
	}
	if p, ok := state.Get[model.PlatformRow](r, w.PlatformID); ok {
		doc.Platform = p.Name
	}
	return doc
}

// machineWork finds the work on a machine, to be changed. Error: NotFound.
func machineWork(tx *state.Tx, orgID, id string) (*model.MachineWork, error) {
	w, ok := state.Edit[model.MachineWork](tx, id)
	if !ok || w.OrgID != orgID {
		return nil, model.Errorf(model.NotFound, "there is no work on a machine %q", id)
	}
	return w, nil
}

// RetryMachine tries again at once what failed, or waits. Error: NotFound.
func RetryMachine(tx *state.Tx, orgID, id string) (*model.MachineWork, error) {
	w, err := machineWork(tx, orgID, id)
	if err != nil {
		return nil, err
	}
	if i, ok := state.Edit[model.InstanceRow](tx, w.HostID); ok && i.ID == w.InstanceID && i.Provisioning && w.Failed {
		h, err := HostByID(tx, orgID, w.HostID)
		if err != nil {
			return nil, err
		}
		if err := provisionAgain(tx, h, i); err != nil {
			return nil, err
		}
		w, _ = state.Get[model.MachineWork](tx, id)
		return w, nil
	}
	restart(tx, w)
	return w, state.Put(tx, w)
}

// DropMachine gives up a machine that is to be destroyed and cannot be: it is left alone. Errors: NotFound, Conflict (a host has it).
func DropMachine(tx *state.Tx, orgID, id string) error {
	w, err := machineWork(tx, orgID, id)
	if err != nil {
		return err
	}
	if w.Do != model.DoDestroy {
		return model.Errorf(model.Conflict, "the machine is that of %s: delete or forget that host's instance", w.Name)
	}
	state.Delete[model.MachineWork](tx, id)
	return nil
}

// inWords is an action as a sentence has it.
func inWords(do model.MachineDo) string {
	if do == model.DoOff {
		return "power it off"
	}
	return string(do) + " it"
}
