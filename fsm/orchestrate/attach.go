package orchestrate

import (
	"github.com/muster-hq/muster/fsm/model"
	"github.com/muster-hq/muster/fsm/state"
)

// OwnerOfPlatformContext names the platform of a host as the owner of settings.
func OwnerOfPlatformContext(c *model.PlatformContextRow) model.Owner {
	return model.Owner{Level: model.LevelPlatformContext, OrgID: c.OrgID, ID: c.ID}
}

// OwnerOfDistributionContext names the distribution of a host as the owner of settings.
func OwnerOfDistributionContext(c *model.DistributionContextRow) model.Owner {
	return model.Owner{Level: model.LevelDistributionContext, OrgID: c.OrgID, ID: c.ID}
}

// PlatformOf gives the platform of a host and its context. Error: NotFound (the host, or it has none).
func PlatformOf(r state.Reader, orgID, hostID string) (*model.PlatformContextRow, *model.PlatformRow, error) {
	if _, err := HostByID(r, orgID, hostID); err != nil {
		return nil, nil, err
	}
	c, ok := state.Find[model.PlatformContextRow](r, model.AttachedTo(hostID))
	if ok {
		if p, ok := state.Get[model.PlatformRow](r, c.OfID); ok {
			return c, p, nil
		}
	}
	return nil, nil, model.Errorf(model.NotFound, "this host has no platform")
}

// DistributionOf gives the distribution of a host and its context. Error: NotFound (the host, or it has none).
func DistributionOf(r state.Reader, orgID, hostID string) (*model.DistributionContextRow, *model.DistributionRow, error) {
	if _, err := HostByID(r, orgID, hostID); err != nil {
		return nil, nil, err
	}
	c, ok := state.Find[model.DistributionContextRow](r, model.AttachedTo(hostID))
	if ok {
		if d, ok := state.Get[model.DistributionRow](r, c.OfID); ok {
			return c, d, nil
		}
	}
	return nil, nil, model.Errorf(model.NotFound, "this host has no distribution")
}

// SetPlatform gives a host its platform, or replaces the one that it has, with settings of the context. Errors: NotFound
// (the host), Invalid (the platform does not exist), Conflict (the host has an instance, made on another platform).
func SetPlatform(tx *state.Tx, orgID, hostID string, doc model.PlatformContext) (*model.PlatformContextRow, error) {
	h, err := HostByID(tx, orgID, hostID)
	if err != nil {
		return nil, err
	}
	if doc.Platform == "" {
		return nil, model.Errorf(model.Invalid, "platform is missing: name the platform of the host")
	}
	p, err := PlatformByName(tx, orgID, doc.Platform)
	if err != nil {
		return nil, model.Errorf(model.Invalid, "platform %q does not exist: create it first", doc.Platform)
	}
	old, had := state.Find[model.PlatformContextRow](tx, model.AttachedTo(hostID))
	if had && old.OfID != p.ID {
		if err := replaceable(tx, h, "platform"); err != nil {
			return nil, err
		}
	}
	c := &model.PlatformContextRow{Attachment: model.Attachment{ID: newID(), OrgID: orgID, HostID: hostID, OfID: p.ID, Version: 1}}
	var oldOwner *model.Owner
	if had {
		o := OwnerOfPlatformContext(old)
		oldOwner, c.Version = &o, old.Version+1
	}
	return c, reattach(tx, oldOwner, doc.Settings, func() (model.Owner, error) {
		if had {
			state.Delete[model.PlatformContextRow](tx, old.ID)
		}
		return OwnerOfPlatformContext(c), state.Put(tx, c)
	})
}

// SetDistribution gives a host its distribution, or replaces the one that it has. Errors: as of SetPlatform.
func SetDistribution(tx *state.Tx, orgID, hostID string, doc model.DistributionContext) (*model.DistributionContextRow, error) {
	h, err := HostByID(tx, orgID, hostID)
	if err != nil {
		return nil, err
	}
	if doc.Distribution == "" {
		return nil, model.Errorf(model.Invalid, "distribution is missing: name the distribution of the host")
	}
	d, err := DistributionByName(tx, orgID, doc.Distribution)
	if err != nil {
		return nil, model.Errorf(model.Invalid, "distribution %q does not exist: create it first", doc.Distribution)
	}
	old, had := state.Find[model.DistributionContextRow](tx, model.AttachedTo(hostID))
	if had && old.OfID != d.ID {
		if err := replaceable(tx, h, "distribution"); err != nil {
			return nil, err
		}
	}
	c := &model.DistributionContextRow{Attachment: model.Attachment{ID: newID(), OrgID: orgID, HostID: hostID, OfID: d.ID, Version: 1}}
	var oldOwner *model.Owner
	if had {
		o := OwnerOfDistributionContext(old)
		oldOwner, c.Version = &o, old.Version+1
	}
	return c, reattach(tx, oldOwner, doc.Settings, func() (model.Owner, error) {
		if had {
			state.Delete[model.DistributionContextRow](tx, old.ID)
		}
		return OwnerOfDistributionContext(c), state.Put(tx, c)
	})
}

// replaceable refuses to take away what a machine was made with. Error: Conflict.
func replaceable(r state.Reader, h *model.HostRow, what string) error {
	if _, ok := state.Get[model.InstanceRow](r, h.ID); ok {
		return model.Errorf(model.Conflict, "host %q has an instance: its %s stays until you delete or forget the instance", h.Name, what)
	}
	return nil
}

// reattach drops what an old context owns, makes the new one with its settings, and queues what the change sets off
// through links. old is nil when there was none.
func reattach(tx *state.Tx, old *model.Owner, settings []model.Setting, put func() (model.Owner, error)) error {
	var w watch
	if old != nil {
		w = affected(tx, *old, settingKeys(tx, old.ID))
		dropOwned(tx, old.ID)
	}
	owner, err := put()
	if err != nil {
		return err
	}
	if err := createSettings(tx, owner, settings); err != nil {
		return err
	}
	return w.queue(tx, false)
}

// DetachPlatform takes the platform off a host. Errors: NotFound, Conflict (the host has an instance).
func DetachPlatform(tx *state.Tx, orgID, hostID string) error {
	c, _, err := PlatformOf(tx, orgID, hostID)
	if err != nil {
		return err
	}
	if err := detachable(tx, hostID, "platform"); err != nil {
		return err
	}
	return detach(tx, OwnerOfPlatformContext(c), func() { state.Delete[model.PlatformContextRow](tx, c.ID) })
}

// DetachDistribution takes the distribution off a host. Errors: NotFound, Conflict (the host has an instance).
func DetachDistribution(tx *state.Tx, orgID, hostID string) error {
	c, _, err := DistributionOf(tx, orgID, hostID)
	if err != nil {
		return err
	}
	if err := detachable(tx, hostID, "distribution"); err != nil {
		return err
	}
	return detach(tx, OwnerOfDistributionContext(c), func() { state.Delete[model.DistributionContextRow](tx, c.ID) })
}

func detachable(r state.Reader, hostID, what string) error {
	h, ok := state.Get[model.HostRow](r, hostID)
	if !ok {
		return nil
	}
	return replaceable(r, h, what)
}

func detach(tx *state.Tx, o model.Owner, drop func()) error {
	w := affected(tx, o, settingKeys(tx, o.ID))
	dropOwned(tx, o.ID)
	drop()
	return w.queue(tx, false)
}

// copyAttachments gives a clone the platform and distribution of a host, with the settings of the contexts.
func copyAttachments(tx *state.Tx, from, to *model.HostRow) error {
	if c, p, err := PlatformOf(tx, from.OrgID, from.ID); err == nil {
		doc := model.PlatformContext{Platform: p.Name, Settings: ownSettings(tx, OwnerOfPlatformContext(c))}
		if _, err := SetPlatform(tx, to.OrgID, to.ID, doc); err != nil {
			return err
		}
	}
	if c, d, err := DistributionOf(tx, from.OrgID, from.ID); err == nil {
		doc := model.DistributionContext{Distribution: d.Name, Settings: ownSettings(tx, OwnerOfDistributionContext(c))}
		if _, err := SetDistribution(tx, to.OrgID, to.ID, doc); err != nil {
			return err
		}
	}
	return nil
}

// PlatformContextDoc is the document of a host's platform.
func PlatformContextDoc(r state.Reader, c *model.PlatformContextRow, show Show) model.PlatformContext {
	doc := model.PlatformContext{UUID: c.ID, Version: c.Version, Settings: Settings(r, OwnerOfPlatformContext(c), show)}
	if p, ok := state.Get[model.PlatformRow](r, c.OfID); ok {
		doc.Platform = p.Name
	}
	doc.Organization, doc.Environment, doc.Host = placeOf(r, c.HostID)
	return doc
}

// DistributionContextDoc is the document of a host's distribution.
func DistributionContextDoc(r state.Reader, c *model.DistributionContextRow, show Show) model.DistributionContext {
	doc := model.DistributionContext{UUID: c.ID, Version: c.Version, Settings: Settings(r, OwnerOfDistributionContext(c), show)}
	if d, ok := state.Get[model.DistributionRow](r, c.OfID); ok {
		doc.Distribution = d.Name
	}
	doc.Organization, doc.Environment, doc.Host = placeOf(r, c.HostID)
	return doc
}

// placeOf names where a host is.
func placeOf(r state.Reader, hostID string) (org, env, host string) {
	h, ok := state.Get[model.HostRow](r, hostID)
	if !ok {
		return "", "", ""
	}
	if e, ok := state.Get[model.EnvironmentRow](r, h.EnvID); ok {
		env = e.Name
	}
	return organizationName(r, h.OrgID), env, h.Name
}
