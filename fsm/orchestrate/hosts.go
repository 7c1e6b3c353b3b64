package orchestrate

import (
	"strconv"

	"github.com/muster-hq/muster/fsm/model"
	"github.com/muster-hq/muster/fsm/state"
)

// CreateHost creates a host in state DEFINED, with its settings and contexts.
// Errors: NotFound, Invalid, Conflict (the name is taken).
func CreateHost(tx *state.Tx, orgID, envID string, doc model.Host) (*model.HostRow, error) {
	if _, err := environmentByID(tx, orgID, envID); err != nil {
		return nil, err
	}
	if err := model.CheckName("host", doc.Name); err != nil {
		return nil, err
	}
	if _, taken := state.Find[model.HostRow](tx, model.HostNamed(envID, doc.Name)); taken {
		return nil, taken409("host", doc.Name)
	}
	h := &model.HostRow{ID: newID(), OrgID: orgID, EnvID: envID, Version: 1, Name: doc.Name, Description: doc.Description}
	if err := state.Put(tx, h); err != nil {
		return nil, err
	}
	if err := createSettings(tx, OwnerOfHost(h), doc.Settings); err != nil {
		return nil, err
	}
	if given(doc.Platform) {
		if _, err := SetPlatform(tx, orgID, h.ID, model.PlatformContext{Platform: *doc.Platform}); err != nil {
			return nil, err
		}
	}
	if given(doc.Distribution) {
		if _, err := SetDistribution(tx, orgID, h.ID, model.DistributionContext{Distribution: *doc.Distribution}); err != nil {
			return nil, err
		}
	}
	for _, app := range doc.Applications {
		if _, err := InstallApplication(tx, orgID, h.ID, model.ApplicationContext{Application: app}); err != nil {
			return nil, err
		}
	}
	return h, nil
}

func given(name *string) bool { return name != nil && *name != "" }

// UpdateHost changes name and description; another environment moves the host (contract section 3.3).
// Errors: NotFound, Invalid, Conflict (the name is taken there).
func UpdateHost(tx *state.Tx, orgID, hostID string, patch []byte) (*model.HostRow, error) {
	if _, err := HostByID(tx, orgID, hostID); err != nil {
		return nil, err
	}
	h, _ := state.Edit[model.HostRow](tx, hostID)
	n, renamed, err := mergeNamed("host", h.Name, h.Description, patch)
	if err != nil {
		return nil, err
	}
	move, err := model.Decode[struct {
		Environment *string `json:"environment"`
	}](patch)
	if err != nil {
		return nil, err
	}
	env, err := environmentByID(tx, orgID, h.EnvID)
	if err != nil {
		return nil, err
	}
	was := ownerPath(tx, OwnerOfHost(h))
	if given(move.Environment) && *move.Environment != env.Name {
		if env, err = EnvironmentByName(tx, orgID, *move.Environment); err != nil {
			return nil, model.Errorf(model.Invalid, "environment %q does not exist: the host cannot move there", *move.Environment)
		}
	}
	moved := env.ID != h.EnvID
	if renamed || moved {
		if _, taken := state.Find[model.HostRow](tx, model.HostNamed(env.ID, n.Name)); taken {
			return nil, taken409("host", n.Name)
		}
	}
	watch := affectedOnMove(tx, h, moved)
	h.Name, h.Description, h.EnvID = n.Name, n.Description, env.ID
	h.Version++
	if err := state.Put(tx, h); err != nil {
		return nil, err
	}
	if a, ok := state.Find[model.Agent](tx, model.AgentOfHost(hostID)); ok && moved {
		a, _ := state.Edit[model.Agent](tx, a.ID)
		a.EnvID = h.EnvID
		if err := state.Put(tx, a); err != nil {
			return nil, err
		}
	}
	if renamed || moved {
		if err := moveLinks(tx, orgID, was, ownerPath(tx, OwnerOfHost(h))); err != nil {
			return nil, err
		}
	}
	return h, watch.queue(tx, false)
}

// DeleteHost deletes a host with all that hangs on it. Errors: NotFound, Conflict (it has an instance).
func DeleteHost(tx *state.Tx, orgID, hostID string) error {
	h, err := HostByID(tx, orgID, hostID)
	if err != nil {
		return err
	}
	if _, ok := state.Get[model.InstanceRow](tx, hostID); ok {
		return model.Errorf(model.Conflict, "host %q has an instance: delete or forget it first", h.Name)
	}
	dropAll(tx).host(h)
	return nil
}

// CloneHost copies a host within its environment under a free name. Errors: NotFound.
func CloneHost(tx *state.Tx, orgID, hostID string) (*model.HostRow, error) {
	h, err := HostByID(tx, orgID, hostID)
	if err != nil {
		return nil, err
	}
	return copyHost(tx, h, h.EnvID, freeHostName(tx, h.EnvID, h.Name+"-clone"))
}

// freeHostName is base, or base with the lowest number from 2 that makes it free.
func freeHostName(r state.Reader, envID, base string) string {
	for n, name := 2, base; ; n++ {
		if _, taken := state.Find[model.HostRow](r, model.HostNamed(envID, name)); !taken {
			return name
		}
		name = base + "-" + strconv.Itoa(n)
	}
}

// copyHost copies settings and contexts, not instance, changes or compliance errors (contract section 4.1).
func copyHost(tx *state.Tx, from *model.HostRow, envID, name string) (*model.HostRow, error) {
	to, err := CreateHost(tx, from.OrgID, envID, model.Host{
		Name: name, Description: from.Description, Settings: ownSettings(tx, OwnerOfHost(from)),
	})
	if err != nil {
		return nil, err
	}
	if err := copyAttachments(tx, from, to); err != nil {
		return nil, err
	}
	for _, c := range Contexts(tx, from.OrgID, from.ID) {
		doc := ContextDoc(tx, c, Show{})
		doc.Settings = ownSettings(tx, OwnerOfContext(c))
		if _, err := InstallApplication(tx, from.OrgID, to.ID, doc); err != nil {
			return nil, err
		}
	}
	return to, nil
}

// AdoptHost gives a machine that enrols its host: the DEFINED one of that name, whose applications are then
// installed, or a new one. It comes with a running instance, whose properties (contract section 3.3) are the
// given ones over a hostname that is the host's name. Errors: NotFound (the environment), Invalid (the name),
// Conflict (a host of that name has a machine already).
func AdoptHost(tx *state.Tx, orgID, envID, name string, props ...model.Property) (*model.HostRow, error) {
	h, ok := state.Find[model.HostRow](tx, model.HostNamed(envID, name))
	if !ok {
		var err error
		if h, err = CreateHost(tx, orgID, envID, model.Host{Name: name}); err != nil {
			return nil, err
		}
	}
	if _, err := environmentByID(tx, orgID, h.EnvID); err != nil { // nothing gets a machine in what is being deleted
		return nil, err
	}
	if _, ok := state.Get[model.InstanceRow](tx, h.ID); ok {
		return nil, model.Errorf(model.Conflict, "a host named %q has a machine already: choose another name, or forget that host's instance first", name)
	}
	return h, createInstance(tx, h, sortedProperties([]model.Property{{Key: "hostname", Value: name}}, props))
}

func organizationName(r state.Reader, orgID string) string {
	if o, ok := state.Get[model.OrganizationRow](r, orgID); ok {
		return o.Name
	}
	return ""
}
