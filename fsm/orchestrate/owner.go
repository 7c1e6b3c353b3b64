package orchestrate

import (
	"slices"
	"strings"

	"github.com/muster-hq/muster/fsm/model"
	"github.com/muster-hq/muster/fsm/state"
)

// ownerPath is the address of an owner without leading slash, such as organizations/o/environments/e; "" when it is gone.
func ownerPath(r state.Reader, o model.Owner) string {
	var names []string // from the innermost
	for at := o; at.ID != ""; {
		part, above, ok := stepOut(r, at)
		if !ok {
			return ""
		}
		names = append(names, part)
		at = above
	}
	slices.Reverse(names)
	return strings.Join(names, "/")
}

// stepOut gives the last part of an owner's address and what is around it.
func stepOut(r state.Reader, o model.Owner) (part string, above model.Owner, ok bool) {
	switch o.Level {
	case model.LevelContext:
		c, ok := state.Get[model.ContextRow](r, o.ID)
		if !ok {
			return "", above, false
		}
		return "applications/" + applicationName(r, c.AppID), model.Owner{Level: model.LevelHost, OrgID: c.OrgID, ID: c.HostID}, true
	case model.LevelPlatformContext, model.LevelDistributionContext:
		hostID, ok := attachedHost(r, o)
		part = "platform"
		if o.Level == model.LevelDistributionContext {
			part = "distribution"
		}
		return part, model.Owner{Level: model.LevelHost, OrgID: o.OrgID, ID: hostID}, ok
	case model.LevelHost:
		h, ok := state.Get[model.HostRow](r, o.ID)
		if !ok {
			return "", above, false
		}
		return "hosts/" + h.Name, model.Owner{Level: model.LevelEnvironment, OrgID: h.OrgID, ID: h.EnvID}, true
	case model.LevelEnvironment:
		e, ok := state.Get[model.EnvironmentRow](r, o.ID)
		if !ok {
			return "", above, false
		}
		return "environments/" + e.Name, ownerOfOrganizationID(e.OrgID), true
	case model.LevelPlatform, model.LevelDistribution:
		k, err := kitByID(r, o.OrgID, o.ID)
		if err != nil {
			return "", above, false
		}
		return k.Table() + "s/" + k.Base().Name, ownerOfOrganizationID(o.OrgID), true
	case model.LevelHostgroup:
		g, ok := state.Get[model.HostgroupRow](r, o.ID)
		if !ok {
			return "", above, false
		}
		return "hostgroups/" + g.Name, ownerOfOrganizationID(o.OrgID), true
	}
	return "organizations/" + organizationName(r, o.ID), above, true
}

func ownerOfOrganizationID(orgID string) model.Owner {
	return model.Owner{Level: model.LevelOrganization, OrgID: orgID, ID: orgID}
}

// attachedHost is the host of a platform or distribution context.
func attachedHost(r state.Reader, o model.Owner) (string, bool) {
	if o.Level == model.LevelPlatformContext {
		if c, ok := state.Get[model.PlatformContextRow](r, o.ID); ok && c.OrgID == o.OrgID {
			return c.HostID, true
		}
		return "", false
	}
	if c, ok := state.Get[model.DistributionContextRow](r, o.ID); ok && c.OrgID == o.OrgID {
		return c.HostID, true
	}
	return "", false
}

// kitOfOwner is the application, platform or distribution whose parameters the settings of an owner may stand for; nil
// for owners of settings for all.
func kitOfOwner(r state.Reader, o model.Owner) model.Furnished {
	id := ""
	switch o.Level {
	case model.LevelContext:
		if c, ok := state.Get[model.ContextRow](r, o.ID); ok {
			id = c.AppID
		}
	case model.LevelPlatformContext:
		if c, ok := state.Get[model.PlatformContextRow](r, o.ID); ok {
			id = c.OfID
		}
	case model.LevelDistributionContext:
		if c, ok := state.Get[model.DistributionContextRow](r, o.ID); ok {
			id = c.OfID
		}
	case model.LevelPlatform, model.LevelDistribution:
		id = o.ID
	}
	if id == "" {
		return nil
	}
	k, err := kitByID(r, o.OrgID, id)
	if err != nil {
		return nil
	}
	return k
}

// ownsForOne says whether the settings of an owner stand for parameters of one thing only.
func ownsForOne(o model.Owner) bool {
	switch o.Level {
	case model.LevelContext, model.LevelPlatformContext, model.LevelDistributionContext, model.LevelPlatform, model.LevelDistribution:
		return true
	}
	return false
}

// ownerExists refuses an owner that is gone or of another organization. Error: NotFound.
func ownerExists(r state.Reader, o model.Owner) error {
	var err error
	switch o.Level {
	case model.LevelOrganization:
		if o.ID != o.OrgID {
			return model.Errorf(model.NotFound, "organization not found")
		}
		_, err = OrganizationByID(r, o.ID)
	case model.LevelEnvironment:
		_, err = environmentByID(r, o.OrgID, o.ID)
	case model.LevelHost:
		_, err = HostByID(r, o.OrgID, o.ID)
	case model.LevelContext:
		if c, ok := state.Get[model.ContextRow](r, o.ID); !ok || c.OrgID != o.OrgID {
			err = model.Errorf(model.NotFound, "application context not found")
		}
	case model.LevelPlatformContext, model.LevelDistributionContext:
		if _, ok := attachedHost(r, o); !ok {
			err = model.Errorf(model.NotFound, "context not found")
		}
	case model.LevelPlatform, model.LevelDistribution:
		_, err = kitByID(r, o.OrgID, o.ID)
	case model.LevelHostgroup:
		_, err = hostgroupByID(r, o.OrgID, o.ID)
	default:
		err = model.Errorf(model.NotFound, "unknown level %q", o.Level)
	}
	return err
}

// ownerOpen refuses an owner whose settings cannot be changed. Errors: NotFound, Conflict (a distribution that is locked).
func ownerOpen(r state.Reader, o model.Owner) error {
	if err := ownerExists(r, o); err != nil {
		return err
	}
	if d, ok := state.Get[model.DistributionRow](r, o.ID); ok && o.Level == model.LevelDistribution {
		return unlocked(d)
	}
	return nil
}
