package transfer

import (
	"cmp"
	"slices"

	"github.com/muster-hq/muster/fsm/model"
	"github.com/muster-hq/muster/fsm/orchestrate"
	"github.com/muster-hq/muster/fsm/state"
)

// environments are environments, then hosts with their platform, distribution and applications.
func (e *exporter) environments() error {
	envs := orchestrate.Environments(e.r, e.org.ID)
	for _, env := range envs {
		if err := e.doc(Record{Kind: KindEnvironment}, named{env.Name, env.Description}); err != nil {
			return err
		}
		e.owners = append(e.owners, owned{Record{Environment: env.Name}, orchestrate.OwnerOfEnvironment(env), true})
	}
	for _, env := range envs {
		for _, h := range orchestrate.Hosts(e.r, e.org.ID, env.ID) {
			if err := e.host(env, h); err != nil {
				return err
			}
		}
	}
	return nil
}

func (e *exporter) host(env *model.EnvironmentRow, h *model.HostRow) error {
	at := Record{Environment: env.Name, Host: h.Name}
	if err := e.doc(Record{Kind: KindHost, Environment: env.Name}, named{h.Name, h.Description}); err != nil {
		return err
	}
	e.owners = append(e.owners, owned{at, orchestrate.OwnerOfHost(h), true})
	if c, p, err := orchestrate.PlatformOf(e.r, e.org.ID, h.ID); err == nil {
		of := at
		of.Kind, of.Platform = KindPlatformOf, p.Name
		if err := e.emit(&of); err != nil {
			return err
		}
		at.Of = "platform"
		e.owners = append(e.owners, owned{at, orchestrate.OwnerOfPlatformContext(c), false})
	}
	if c, d, err := orchestrate.DistributionOf(e.r, e.org.ID, h.ID); err == nil {
		of := Record{Kind: KindDistOf, Environment: env.Name, Host: h.Name, Distribution: d.Name}
		if err := e.emit(&of); err != nil {
			return err
		}
		at.Of = "distribution"
		e.owners = append(e.owners, owned{at, orchestrate.OwnerOfDistributionContext(c), false})
	}
	at.Of = ""
	contexts := state.List[model.ContextRow](e.r, model.ContextsOf(h.ID))
	slices.SortFunc(contexts, func(a, b *model.ContextRow) int { return cmp.Compare(a.Position, b.Position) })
	for _, c := range contexts {
		doc := orchestrate.ContextDoc(e.r, c, orchestrate.Show{})
		at.Application = doc.Application
		of := at
		of.Kind = KindContext
		if err := e.doc(of, overrides{doc.Enabled, doc.Services}); err != nil {
			return err
		}
		e.owners = append(e.owners, owned{at, orchestrate.OwnerOfContext(c), false})
	}
	return nil
}

// hostgroups name their hosts.
func (e *exporter) hostgroups() error {
	for _, g := range orchestrate.Hostgroups(e.r, e.org.ID) {
		doc := orchestrate.HostgroupDoc(e.r, g, orchestrate.Show{}, nil)
		doc.UUID, doc.Version, doc.Organization, doc.Settings = "", 0, "", nil
		for i := range doc.Hosts {
			doc.Hosts[i].Organization = ""
		}
		if err := e.doc(Record{Kind: KindHostgroup}, &doc); err != nil {
			return err
		}
		e.owners = append(e.owners, owned{Record{Hostgroup: g.Name}, orchestrate.OwnerOfHostgroup(g), false})
	}
	return nil
}

// definitions are what is kept as it was given, of the organization.
func (e *exporter) definitions() error {
	for _, o := range orchestrate.Orchestrations(e.r, e.org.ID) {
		doc := orchestration{Orchestration: orchestrate.OrchestrationDoc(e.r, o, orchestrate.Show{}, nil)}
		doc.UUID, doc.Version, doc.Organization = "", 0, ""
		for i := range doc.Hostgroups {
			doc.Hostgroups[i].Hostgroup = model.Hostgroup{Name: doc.Hostgroups[i].Hostgroup.Name}
		}
		for _, h := range o.Handlers {
			doc.Handlers = append(doc.Handlers, handler{h.Name, h.Triggers})
		}
		if err := e.doc(Record{Kind: KindOrchestration}, &doc); err != nil {
			return err
		}
	}
	hooks, err := orchestrate.Webhooks().List(e.r, e.org.ID, e.org.ID, true)
	if err != nil {
		return err
	}
	for _, w := range hooks {
		w.UUID, w.Version, w.Organization = "", 0, ""
		w.Headers, w.Parameters = slices.Clone(w.Headers), slices.Clone(w.Parameters) // they are the row's
		if err := e.doc(Record{Kind: KindWebhook}, &w); err != nil {
			return err
		}
	}
	channels, err := orchestrate.NotificationChannels().List(e.r, e.org.ID, e.org.ID, true)
	if err != nil {
		return err
	}
	for _, n := range channels {
		n.UUID, n.Version, n.Organization = "", 0, ""
		if err := e.doc(Record{Kind: KindChannel}, &n); err != nil {
			return err
		}
	}
	return nil
}

// jobs are as they were given: not when they ran, and for whom they act.
func (e *exporter) jobs() error {
	for _, j := range orchestrate.Jobs(e.r, e.org.ID) {
		doc := orchestrate.JobDoc(e.r, j)
		doc.UUID, doc.Version, doc.Organization, doc.Next, doc.LastRun, doc.LastError = "", 0, "", "", "", ""
		if err := e.doc(Record{Kind: KindJob, Name: j.Name}, &doc); err != nil {
			return err
		}
	}
	return nil
}

// quota is that of the organization, if it has one of its own.
func (e *exporter) quota() error {
	row, own := state.Get[model.QuotaRow](e.r, e.org.ID)
	if !own {
		return nil
	}
	return e.doc(Record{Kind: KindQuota}, row.Quota)
}

// settings are all, as they were given.
func (e *exporter) settings() error {
	for _, o := range e.owners {
		rows := state.List[model.SettingRow](e.r, model.SettingsOf(o.owner.ID))
		if len(rows) == 0 {
			continue
		}
		slices.SortFunc(rows, func(a, b *model.SettingRow) int { return cmp.Compare(a.Name, b.Name) })
		secret := map[string]bool{}
		for _, s := range orchestrate.Settings(e.r, o.owner, orchestrate.Show{SecretOnly: true}) {
			secret[s.Key] = true
		}
		at := o.at
		at.Kind = KindSetting
		for _, s := range rows {
			at.Name = s.Name
			doc := model.Setting{Key: s.Name, Value: s.Value, Link: s.Link, Property: s.Property, Schema: s.Schema}
			var err error
			if secret[s.Name] {
				err = e.doc(at, &secretSetting{doc})
			} else {
				err = e.doc(at, &doc)
			}
			if err != nil {
				return err
			}
		}
	}
	return nil
}

// groups are those with members.
func (e *exporter) groups() error {
	for _, o := range e.owners {
		if !o.groups {
			continue
		}
		for _, g := range orchestrate.Groups(e.r, o.owner) {
			var users members
			for _, u := range g.Users {
				users.Users = append(users.Users, u.Username)
			}
			if len(users.Users) == 0 {
				continue
			}
			slices.Sort(users.Users)
			at := o.at
			at.Kind, at.Name = KindGroup, g.Name
			if err := e.doc(at, users); err != nil {
				return err
			}
		}
	}
	return nil
}
