package transfer

import (
	"encoding/json"
	"strings"

	"github.com/muster-hq/muster/fsm/model"
	"github.com/muster-hq/muster/fsm/orchestrate"
	"github.com/muster-hq/muster/fsm/state"
)

// overrides are what a host says of an application.
type overrides struct {
	Enabled  json.RawMessage       `json:"enabled,omitempty"`
	Services []model.ServiceSwitch `json:"services,omitempty"`
}

// members are usernames. Those that nobody has become invitations.
type members struct {
	Users []string `json:"users"`
}

// orchestration is one with its handlers.
type orchestration struct {
	model.Orchestration
	Handlers []handler `json:"handlers,omitempty"`
}

type handler struct {
	Name     string   `json:"name"`
	Triggers []string `json:"triggers"`
}

// apply is what a record means, in a transaction.
type apply func(tx *state.Tx) error

// meaning reads a record. What it refers to is looked for in the transaction.
func (i *importer) meaning(rec *Record) (apply, error) {
	switch rec.Kind {
	case KindPlatform, KindDistribution, KindApplication, KindLock, KindModule, KindGit:
		return i.kitMeaning(rec)
	case KindJob:
		return i.job(rec)
	case KindQuota:
		return i.quota(rec)
	case KindHostgroup, KindOrchestration, KindWebhook, KindChannel:
		return i.definitionMeaning(rec)
	case KindSetting:
		return i.setting(rec)
	case KindGroup:
		doc, err := decode[members](rec)
		at := *rec
		return func(tx *state.Tx) error { return i.group(tx, &at, doc) }, err
	case KindContext:
		doc, err := decode[overrides](rec)
		at := *rec
		return func(tx *state.Tx) error {
			h, err := i.host(tx, &at)
			if err != nil {
				return err
			}
			_, err = orchestrate.InstallApplication(tx, i.orgID, h.ID, model.ApplicationContext{Application: at.Application, Enabled: doc.Enabled, Services: doc.Services})
			return err
		}, err
	case KindPlatformOf, KindDistOf:
		at := *rec
		return func(tx *state.Tx) error {
			h, err := i.host(tx, &at)
			if err != nil {
				return err
			}
			if at.Kind == KindPlatformOf {
				_, err = orchestrate.SetPlatform(tx, i.orgID, h.ID, model.PlatformContext{Platform: at.Platform})
			} else {
				_, err = orchestrate.SetDistribution(tx, i.orgID, h.ID, model.DistributionContext{Distribution: at.Distribution})
			}
			return err
		}, nil
	}
	return i.place(rec)
}

// place is an environment or a host.
func (i *importer) place(rec *Record) (apply, error) {
	doc, err := decode[named](rec)
	at := *rec
	return func(tx *state.Tx) error {
		if at.Kind == KindEnvironment {
			_, err := orchestrate.CreateEnvironment(tx, i.orgID, model.Environment{Name: doc.Name, Description: doc.Description})
			return err
		}
		env, err := orchestrate.EnvironmentByName(tx, i.orgID, at.Environment)
		if err != nil {
			return err
		}
		_, err = orchestrate.CreateHost(tx, i.orgID, env.ID, model.Host{Name: doc.Name, Description: doc.Description})
		return err
	}, err
}

func (i *importer) kitMeaning(rec *Record) (apply, error) {
	at := *rec
	switch rec.Kind {
	case KindPlatform:
		doc, err := filled[model.Platform](i, rec)
		return func(tx *state.Tx) error { _, err := orchestrate.CreatePlatform(tx, i.orgID, doc); return err }, err
	case KindDistribution:
		doc, err := filled[model.Distribution](i, rec)
		return func(tx *state.Tx) error { _, err := orchestrate.CreateDistribution(tx, i.orgID, doc, ""); return err }, err
	case KindApplication:
		doc, err := filled[model.Application](i, rec)
		return func(tx *state.Tx) error { _, err := orchestrate.CreateApplication(tx, i.orgID, doc); return err }, err
	case KindModule:
		doc, err := filled[model.RpmModule](i, rec)
		return i.ofApplication(&at, func(tx *state.Tx, appID string) error {
			_, err := orchestrate.RpmModules().Create(tx, i.orgID, appID, doc, true)
			return err
		}), err
	case KindGit:
		doc, err := filled[model.Git](i, rec)
		return i.ofApplication(&at, func(tx *state.Tx, appID string) error {
			_, err := orchestrate.Gits().Create(tx, i.orgID, appID, doc, true)
			return err
		}), err
	}
	return func(tx *state.Tx) error {
		id, err := i.kit(tx, &at)
		switch {
		case err != nil:
			return err
		case at.Distribution != "":
			return orchestrate.LockDistribution(tx, i.orgID, id, true)
		}
		return orchestrate.LockApplication(tx, i.orgID, id, true)
	}, nil
}

func (i *importer) ofApplication(at *Record, do func(tx *state.Tx, appID string) error) apply {
	return func(tx *state.Tx) error {
		a, err := orchestrate.ApplicationByName(tx, i.orgID, at.Application)
		if err != nil {
			return err
		}
		return do(tx, a.ID)
	}
}

// kit finds the application, platform or distribution that a record is of.
func (i *importer) kit(r state.Reader, at *Record) (string, error) {
	var k model.Furnished
	var err error
	switch {
	case at.Platform != "":
		k, err = orchestrate.PlatformByName(r, i.orgID, at.Platform)
	case at.Distribution != "":
		k, err = orchestrate.DistributionByName(r, i.orgID, at.Distribution)
	default:
		k, err = orchestrate.ApplicationByName(r, i.orgID, at.Application)
	}
	if err != nil {
		return "", err
	}
	return k.Base().ID, nil
}

func (i *importer) host(r state.Reader, at *Record) (*model.HostRow, error) {
	env, err := orchestrate.EnvironmentByName(r, i.orgID, at.Environment)
	if err != nil {
		return nil, err
	}
	return orchestrate.HostByName(r, i.orgID, env.ID, at.Host)
}

func (i *importer) definitionMeaning(rec *Record) (apply, error) {
	switch rec.Kind {
	case KindHostgroup:
		doc, err := decode[model.Hostgroup](rec)
		doc.Settings = nil
		return func(tx *state.Tx) error { _, err := orchestrate.CreateHostgroup(tx, i.orgID, doc, nil); return err }, err
	case KindWebhook:
		doc, err := filled[model.Webhook](i, rec)
		return func(tx *state.Tx) error {
			_, err := orchestrate.Webhooks().Create(tx, i.orgID, i.orgID, doc, true)
			return err
		}, err
	case KindChannel:
		doc, err := filled[model.NotificationChannel](i, rec)
		return func(tx *state.Tx) error {
			_, err := orchestrate.NotificationChannels().Create(tx, i.orgID, i.orgID, doc, true)
			return err
		}, err
	}
	doc, err := decode[orchestration](rec)
	return func(tx *state.Tx) error {
		o, err := orchestrate.CreateOrchestration(tx, i.orgID, doc.Orchestration)
		if err != nil {
			return err
		}
		for _, h := range doc.Handlers {
			text, err := json.Marshal(h)
			if err != nil {
				return err
			}
			if _, err := orchestrate.PutOrchestrationHandler(tx, i.orgID, o.ID, "", text); err != nil {
				return err
			}
		}
		return nil
	}, err
}

// job acts for who imports. What it names follows the organization to its new name.
func (i *importer) job(rec *Record) (apply, error) {
	doc, err := filled[model.Job](i, rec)
	if rest, ok := strings.CutPrefix(strings.TrimPrefix(doc.Input, "/"), "organizations/"+i.header.Organization+"/"); ok {
		doc.Input = "organizations/" + i.o.Name + "/" + rest
	}
	return func(tx *state.Tx) error {
		return orchestrate.ImportJob(tx, i.orgID, doc, model.JobMaker{UserID: i.o.AdminID, Name: i.o.Actor})
	}, err
}

// quota is set only for who may set one.
func (i *importer) quota(rec *Record) (apply, error) {
	if _, err := decode[model.Quota](rec); err != nil {
		return nil, err
	}
	if !i.o.Quotas {
		i.leaveOut("the quota of the organization: an administrator of the site sets it")
		return func(*state.Tx) error { return nil }, nil
	}
	doc := rec.Doc
	return func(tx *state.Tx) error { return orchestrate.SetQuota(tx, i.orgID, doc) }, nil
}

// setting is one of any owner. A link within the organization follows it to its new name.
func (i *importer) setting(rec *Record) (apply, error) {
	var doc model.Setting
	if len(rec.Secrets) > 0 {
		s, err := filled[secretSetting](i, rec)
		if err != nil {
			return nil, err
		}
		doc = s.Setting
	} else {
		var err error
		if doc, err = decode[model.Setting](rec); err != nil {
			return nil, err
		}
	}
	if rest, ok := strings.CutPrefix(doc.Link, "organizations/"+i.header.Organization+"/"); ok {
		doc.Link = "organizations/" + i.o.Name + "/" + rest
	}
	at := *rec
	return func(tx *state.Tx) error {
		owner, err := i.owner(tx, &at)
		if err != nil {
			return err
		}
		_, err = orchestrate.CreateSetting(tx, owner, doc, orchestrate.Trigger{})
		return err
	}, nil
}

// owner finds who has a setting or group.
func (i *importer) owner(r state.Reader, at *Record) (model.Owner, error) {
	var none model.Owner
	switch {
	case at.Host != "":
		return i.hostOwner(r, at)
	case at.Environment != "":
		env, err := orchestrate.EnvironmentByName(r, i.orgID, at.Environment)
		if err != nil {
			return none, err
		}
		return orchestrate.OwnerOfEnvironment(env), nil
	case at.Hostgroup != "":
		g, err := orchestrate.HostgroupByName(r, i.orgID, at.Hostgroup)
		if err != nil {
			return none, err
		}
		return orchestrate.OwnerOfHostgroup(g), nil
	case at.Platform != "":
		p, err := orchestrate.PlatformByName(r, i.orgID, at.Platform)
		if err != nil {
			return none, err
		}
		return orchestrate.OwnerOfKit(p), nil
	case at.Distribution != "":
		d, err := orchestrate.DistributionByName(r, i.orgID, at.Distribution)
		if err != nil {
			return none, err
		}
		return orchestrate.OwnerOfKit(d), nil
	}
	o, err := orchestrate.OrganizationByID(r, i.orgID)
	if err != nil {
		return none, err
	}
	return orchestrate.OwnerOfOrganization(o), nil
}

func (i *importer) hostOwner(r state.Reader, at *Record) (model.Owner, error) {
	var none model.Owner
	h, err := i.host(r, at)
	if err != nil {
		return none, err
	}
	switch {
	case at.Application != "":
		c, _, err := orchestrate.ContextByName(r, i.orgID, h.ID, at.Application)
		if err != nil {
			return none, err
		}
		return orchestrate.OwnerOfContext(c), nil
	case at.Of == "platform":
		c, _, err := orchestrate.PlatformOf(r, i.orgID, h.ID)
		if err != nil {
			return none, err
		}
		return orchestrate.OwnerOfPlatformContext(c), nil
	case at.Of == "distribution":
		c, _, err := orchestrate.DistributionOf(r, i.orgID, h.ID)
		if err != nil {
			return none, err
		}
		return orchestrate.OwnerOfDistributionContext(c), nil
	case at.Of != "":
		return none, model.Errorf(model.Invalid, "of is %q: a host's settings are its own, or of its platform or distribution", at.Of)
	}
	return orchestrate.OwnerOfHost(h), nil
}

// group puts users into a group. In the organization's own administrators there must be somebody: who imports it, when
// nobody of the file is known here.
func (i *importer) group(tx *state.Tx, at *Record, doc members) error {
	owner, err := i.owner(tx, at)
	if err != nil {
		return err
	}
	users, known := []model.User{}, false
	for _, name := range doc.Users {
		users = append(users, model.User{Username: name})
		_, err := orchestrate.UserByName(tx, name)
		known = known || err == nil
	}
	if owner.Level == model.LevelOrganization && at.Name == model.GroupAdmin && !known {
		admin, err := orchestrate.UserByID(tx, i.o.AdminID)
		if err != nil {
			return err
		}
		users = append(users, model.User{Username: admin.Username})
	}
	patch, err := json.Marshal(map[string]any{"users": users})
	if err != nil {
		return err
	}
	_, err = orchestrate.UpdateGroup(tx, owner, at.Name, patch)
	return err
}
