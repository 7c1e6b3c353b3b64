package orchestrate

import (
	"slices"

	"github.com/muster-hq/muster/fsm/model"
	"github.com/muster-hq/muster/fsm/state"
)

// provisioned finds an application on a host that has a machine. Errors: NotFound, Conflict (no instance, or one whose agent
// has not enrolled yet).
func provisioned(tx *state.Tx, orgID, hostID, appName string) (*planner, error) {
	ctx, _, err := ContextByName(tx, orgID, hostID, appName)
	if err != nil {
		return nil, err
	}
	p := newPlanner(tx, ctx)
	if p == nil {
		return nil, model.Errorf(model.NotFound, "host not found")
	}
	if err := hasMachine(tx, p.host); err != nil {
		return nil, err
	}
	return p, nil
}

// UpdateFileNow queues the writing of a file (contract section 2.1, live actions). Errors: NotFound, Conflict
// (the host has no instance).
func UpdateFileNow(tx *state.Tx, orgID, hostID, appName, file string) (*model.Change, error) {
	p, err := provisioned(tx, orgID, hostID, appName)
	if err != nil {
		return nil, err
	}
	f := p.app.Document.File(file)
	if f == nil {
		return nil, model.Errorf(model.NotFound, "application %q has no file %q", appName, file)
	}
	p.file(f)
	p.draft.Description = "Update file " + file + " of application " + appName
	return QueueChange(tx, hostID, p.draft)
}

// ServiceNow queues an action on a service; verb is restart, update, enable or disable. The last two also
// become the override of the application on the host, so that description and machine agree.
// Errors: NotFound, Invalid (the verb), Conflict (the host has no instance).
func ServiceNow(tx *state.Tx, orgID, hostID, appName, service, verb string) (*model.Change, error) {
	p, err := provisioned(tx, orgID, hostID, appName)
	if err != nil {
		return nil, err
	}
	s := p.app.Document.Service(service)
	if s == nil {
		return nil, model.Errorf(model.NotFound, "application %q has no service %q", appName, service)
	}
	switch verb {
	case "restart":
		p.add(p.serviceAction(service, "restart"))
	case "update":
		p.service(s)
	case "enable", "disable":
		ctx, _ := state.Edit[model.ContextRow](tx, p.ctx.ID)
		on := verb == "enable"
		if enabled(ctx, s) != on {
			ctx.Services = slices.DeleteFunc(ctx.Services, func(o model.ServiceSwitch) bool { return o.Name == service })
			if s.Enabled != on {
				ctx.Services = append(ctx.Services, model.ServiceSwitch{Name: service, Enabled: on})
			}
			ctx.Version++
			if err := state.Put(tx, ctx); err != nil {
				return nil, err
			}
		}
		p.ctx = ctx
		p.service(s)
	default:
		return nil, model.Errorf(model.Invalid, "action %q on a service: use restart, update, enable or disable", verb)
	}
	p.draft.Description = p.draft.Tasks[0].Description + " of application " + appName
	return QueueChange(tx, hostID, p.draft)
}

// PackageNow queues the installation or update of a package; verb is install or update, release a version or "".
// Errors: NotFound, Invalid (the verb), Conflict (the host has no instance).
func PackageNow(tx *state.Tx, orgID, hostID, appName, name, verb, release string) (*model.Change, error) {
	p, err := provisioned(tx, orgID, hostID, appName)
	if err != nil {
		return nil, err
	}
	if p.app.Document.Package(name) == nil {
		return nil, model.Errorf(model.NotFound, "application %q has no package %q", appName, name)
	}
	want := map[string]any{"ensure": "present"}
	what := "Install package " + name
	switch verb {
	case "install":
	case "update":
		what = "Update package " + name
		if release == "" {
			want["ensure"] = "latest"
		}
	default:
		return nil, model.Errorf(model.Invalid, "action %q on a package: use install or update", verb)
	}
	if release != "" {
		want["version"] = release
		what += " to " + release
	}
	p.want(p.task(model.TypePackages, name, name, verbApply, what), want)
	p.draft.Description = what + " of application " + appName
	return QueueChange(tx, hostID, p.draft)
}

// RunHandler queues a handler by its name; the change's ID is the key that the contract answers. A handler
// without actions gives a nil change. Errors: NotFound, Conflict (the host has no instance).
func RunHandler(tx *state.Tx, orgID, hostID, appName, handler string) (*model.Change, error) {
	p, err := provisioned(tx, orgID, hostID, appName)
	if err != nil {
		return nil, err
	}
	h := p.app.Document.Handler(handler)
	if h == nil {
		return nil, model.Errorf(model.NotFound, "application %q has no handler %q", appName, handler)
	}
	p.handler(h)
	p.draft.Description = "Run handler " + handler + " of application " + appName
	if err := notify(tx, model.NoticeCustom, hostID, "handler "+handler+" of application "+appName+" is run"+by(tx)); err != nil {
		return nil, err
	}
	return QueueChange(tx, hostID, p.draft)
}

// Rebuild queues the whole expected state of a host (contract section 4.4). A host without applications gives
// a nil change. Errors: NotFound, Conflict (the host has no instance).
func Rebuild(tx *state.Tx, orgID, hostID string) (*model.Change, error) {
	h, err := HostByID(tx, orgID, hostID)
	if err != nil {
		return nil, err
	}
	if err := hasMachine(tx, h); err != nil {
		return nil, err
	}
	return QueueChange(tx, hostID, PlanRebuild(tx, hostID))
}
