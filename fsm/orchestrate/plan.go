package orchestrate

import (
	"cmp"
	"encoding/json"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"

	"github.com/muster-hq/muster/fsm/model"
	"github.com/muster-hq/muster/fsm/state"
)

// The collections and verbs of tasks, in the words of dispatch/wire and of the agent's contract.
const (
	collectionExecutables = "executables"

	verbApply  = "apply"
	verbAct    = "act"
	verbForget = "forget"
)

// Draft is a change before it is queued: what would be done, and the rendered contents of its files by task.
// It is a pure function of what was read, so it also serves to show a plan without making it.
type Draft struct {
	Description string
	Tasks       []model.Task
	Contents    map[int][]byte // by orderNum

	intent  string          // key of the intent that it comes from
	retries string          // id of the change that it does again
	blank   map[string]bool // files that have no content yet, by doneKey: empty, until something is uploaded, be it empty
}

// planner gathers the tasks of one draft.
type planner struct {
	r     state.Reader
	host  *model.HostRow
	ctx   *model.ContextRow
	app   *model.ApplicationRow
	draft Draft
	files []int          // orderNums of the file tasks of the context being planned
	done  map[string]int // orderNum by collection, resource and action, of what is in the draft already
	data  *renderer
}

// newPlanner begins a draft for an application on a host; nil when a row is gone.
func newPlanner(r state.Reader, ctx *model.ContextRow) *planner {
	p := &planner{r: r, done: map[string]int{}, draft: Draft{Contents: map[int][]byte{}}}
	var ok bool
	if p.host, ok = state.Get[model.HostRow](r, ctx.HostID); !ok {
		return nil
	}
	if !p.turnTo(ctx) {
		return nil
	}
	return p
}

// turnTo goes on with another application of the same host.
func (p *planner) turnTo(ctx *model.ContextRow) bool {
	app, ok := state.Get[model.ApplicationRow](p.r, ctx.AppID)
	if !ok {
		return false
	}
	p.ctx, p.app, p.files, p.data = ctx, app, nil, nil
	return true
}

// PlanInstall plans the installation of an application on a host: what it declares, then its _install handlers.
func PlanInstall(r state.Reader, ctx *model.ContextRow) Draft {
	p := newPlanner(r, ctx)
	if p == nil {
		return Draft{}
	}
	p.draft.Description = "Install application " + p.app.Name
	p.applyAll()
	p.handlers("_install")
	return p.draft
}

// PlanApply plans to make true again all that an application declares, without handlers.
func PlanApply(r state.Reader, ctx *model.ContextRow) Draft {
	p := newPlanner(r, ctx)
	if p == nil {
		return Draft{}
	}
	p.draft.Description = "Apply application " + p.app.Name
	p.applyAll()
	return p.draft
}

// PlanRebuild plans to make true again all that the applications of a host declare, in order of installation.
func PlanRebuild(r state.Reader, hostID string) Draft {
	var p *planner
	for _, ctx := range contextsByPosition(r, hostID) {
		if p == nil {
			p = newPlanner(r, ctx)
		} else if !p.turnTo(ctx) {
			continue
		}
		if p != nil {
			p.applyAll()
		}
	}
	if p == nil {
		return Draft{}
	}
	p.draft.Description = "Apply the whole expected state"
	return p.draft
}

func contextsByPosition(r state.Reader, hostID string) []*model.ContextRow {
	cs := slices.Clone(state.List[model.ContextRow](r, model.ContextsOf(hostID)))
	slices.SortFunc(cs, func(a, b *model.ContextRow) int {
		return cmp.Or(cmp.Compare(a.Position, b.Position), cmp.Compare(a.ID, b.ID))
	})
	return cs
}

// PlanHandlers plans the handlers of an application on a host that name one of the keys.
func PlanHandlers(r state.Reader, ctx *model.ContextRow, keys []string) Draft {
	p := newPlanner(r, ctx)
	if p == nil {
		return Draft{}
	}
	p.draft.Description = "Run handlers of application " + p.app.Name + ": " + strings.Join(keys, ", ") + " changed"
	p.handlers(keys...)
	return p.draft
}

// PlanUninstall plans to undo an application on a host: _uninstall handlers first, unless handlers is false;
// then its services stopped and disabled, its files and packages removed. What another application of the host
// declares too is kept. Users, groups and directories stay on the machine and are no longer watched.
func PlanUninstall(r state.Reader, ctx *model.ContextRow, handlers bool) Draft {
	p := newPlanner(r, ctx)
	if p == nil {
		return Draft{}
	}
	p.draft.Description = "Uninstall application " + p.app.Name
	if handlers {
		p.handlers("_uninstall")
	}
	shared := p.shared()
	doc := &p.app.Document
	for i := range doc.Services {
		p.takeAway(shared, model.TypeServices, doc.Services[i].Name, doc.Services[i].Name)
	}
	for i := range doc.Files {
		p.takeAway(shared, model.TypeFiles, doc.Files[i].Path, doc.Files[i].Name)
	}
	for i := range doc.Packages {
		p.takeAway(shared, model.TypePackages, doc.Packages[i].Name, doc.Packages[i].Name)
	}
	for i := range doc.Directories {
		p.takeAway(shared, model.TypeDirectories, doc.Directories[i].Path, doc.Directories[i].Name)
	}
	for i := range doc.Users {
		p.takeAway(shared, model.TypeUsers, doc.Users[i].Name, doc.Users[i].Name)
	}
	for i := range doc.Groups {
		p.takeAway(shared, model.TypeGroups, doc.Groups[i].Name, doc.Groups[i].Name)
	}
	return p.draft
}

// shared are the resources that other applications of the host declare, as "collection resource".
func (p *planner) shared() map[string]bool {
	out := map[string]bool{}
	for _, ctx := range state.List[model.ContextRow](p.r, model.ContextsOf(p.host.ID)) {
		a, ok := state.Get[model.ApplicationRow](p.r, ctx.AppID)
		if !ok || ctx.ID == p.ctx.ID {
			continue
		}
		eachResource(&a.Document, func(collection, resource, _ string) { out[collection+" "+resource] = true })
	}
	return out
}

// eachResource calls f for all that an application declares: collection, resource in it, name in the application.
func eachResource(doc *model.Application, f func(collection, resource, name string)) {
	for i := range doc.Groups {
		f(model.TypeGroups, doc.Groups[i].Name, doc.Groups[i].Name)
	}
	for i := range doc.Users {
		f(model.TypeUsers, doc.Users[i].Name, doc.Users[i].Name)
	}
	for i := range doc.Repositories {
		f(model.TypeRepositories, doc.Repositories[i].Name, doc.Repositories[i].Name)
	}
	for i := range doc.Packages {
		f(model.TypePackages, doc.Packages[i].Name, doc.Packages[i].Name)
	}
	for i := range doc.Directories {
		f(model.TypeDirectories, doc.Directories[i].Path, doc.Directories[i].Name)
	}
	for i := range doc.Files {
		f(model.TypeFiles, doc.Files[i].Path, doc.Files[i].Name)
	}
	for i := range doc.Services {
		f(model.TypeServices, doc.Services[i].Name, doc.Services[i].Name)
	}
}

// takeAway plans that a resource is declared no more, unless it is among the kept ones ("collection resource"): services are
// stopped and disabled, files and packages removed. All else may hold data: it stays on the machine, unwatched.
func (p *planner) takeAway(kept map[string]bool, collection, resource, name string) {
	if kept[collection+" "+resource] {
		return
	}
	what, want := "Stop watching", map[string]any(nil)
	switch collection {
	case model.TypeServices:
		what, want = "Stop and disable service", map[string]any{"enabled": false, "running": false}
	case model.TypeFiles:
		what, want = "Remove file", map[string]any{"ensure": "absent"}
	case model.TypePackages:
		what, want = "Remove package", map[string]any{"ensure": "absent"}
	case model.TypeDirectories:
		what = "Stop watching directory"
	case model.TypeUsers:
		what = "Stop watching user"
	case model.TypeGroups:
		what = "Stop watching group"
	}
	t := p.task(collection, resource, name, verbForget, what+" "+name)
	if want != nil {
		t.Verb, t.Want = verbApply, toJSON(want)
	}
	t.Monitor = new(bool)
	p.add(t)
}

// task begins a task of the application being planned.
func (p *planner) task(collection, resource, name, verb, description string) model.Task {
	return model.Task{
		Description: description, Status: model.TaskPending, Collection: collection, Resource: resource, Verb: verb,
		Origin: model.Origin{Application: p.app.Name, Type: collection, Name: name},
	}
}

// add gives the task its number and notes what it does.
func (p *planner) add(t model.Task) int {
	t.OrderNum = len(p.draft.Tasks)
	p.draft.Tasks = append(p.draft.Tasks, t)
	p.done[doneKey(&t)] = t.OrderNum
	return t.OrderNum
}

func doneKey(t *model.Task) string {
	return t.Collection + "\x00" + t.Resource + "\x00" + t.Verb + "\x00" + t.Action
}

// want adds a task that makes something true and keeps watching it, unless the draft has it already.
func (p *planner) want(t model.Task, want map[string]any) int {
	if n, ok := p.done[doneKey(&t)]; ok {
		return n
	}
	watch := true
	t.Monitor, t.Want = &watch, toJSON(want)
	return p.add(t)
}

// applyAll adds all that the application declares: groups and users, packages, directories, files, services.
func (p *planner) applyAll() {
	doc := &p.app.Document
	for i := range doc.Groups {
		g := &doc.Groups[i]
		want := map[string]any{"ensure": "present"}
		setID(want, "gid", g.GID)
		p.want(p.task(model.TypeGroups, g.Name, g.Name, verbApply, "Create group "+g.Name), want)
	}
	for i := range doc.Users {
		p.user(&doc.Users[i])
	}
	for i := range doc.Repositories {
		t := p.task(model.TypeRepositories, doc.Repositories[i].Name, doc.Repositories[i].Name, verbApply, "Add repository "+doc.Repositories[i].Name)
		t.Fail = "package repositories are not built yet: remove " + strconv.Quote(doc.Repositories[i].Name) + " from the application"
		p.want(t, map[string]any{"ensure": "present"})
	}
	for i := range doc.Packages {
		p.want(p.task(model.TypePackages, doc.Packages[i].Name, doc.Packages[i].Name, verbApply, "Install package "+doc.Packages[i].Name), map[string]any{"ensure": "present"})
	}
	for i := range doc.Directories {
		d := &doc.Directories[i]
		p.want(p.task(model.TypeDirectories, d.Path, d.Name, verbApply, "Create directory "+d.Path), placed(d.Owner, d.Group, d.Mode))
	}
	for i := range doc.Files {
		p.file(&doc.Files[i])
	}
	for i := range doc.Services {
		p.service(&doc.Services[i])
	}
}

// placed are the stated attributes of a file or directory.
func placed(owner, group, mode string) map[string]any {
	want := map[string]any{"ensure": "present"}
	set(want, "owner", owner)
	set(want, "group", group)
	set(want, "mode", mode)
	return want
}

func set(want map[string]any, key, value string) {
	if value != "" {
		want[key] = value
	}
}

// setID states a numeric id; -1 means unset (contract section 3.5).
func setID(want map[string]any, key string, id *int) {
	if id != nil && *id >= 0 {
		want[key] = *id
	}
}

func (p *planner) user(u *model.UserResource) {
	t := p.task(model.TypeUsers, u.Name, u.Name, verbApply, "Create user "+u.Name)
	want := map[string]any{"ensure": "present"}
	setID(want, "uid", u.UID)
	switch {
	case u.LoginGroup != "":
		want["group"] = u.LoginGroup
	case u.GID != nil && *u.GID >= 0:
		want["group"] = strconv.Itoa(*u.GID)
	}
	if len(u.Groups) > 0 {
		want["groups"] = u.Groups
	}
	set(want, "home", u.Home)
	set(want, "shell", u.Shell)
	set(want, "gecos", u.FullName)
	if u.System {
		want["system"] = true
	}
	if u.CreateHome {
		want["createHome"] = true
	}
	switch {
	case strings.HasPrefix(u.Password, "$"), strings.HasPrefix(u.Password, "!"), strings.HasPrefix(u.Password, "*"):
		want["passwordHash"] = u.Password
	case u.Password != "":
		hash, err := passwordHash(p.r, p.app.OrgID, u.Name, u.Password)
		if err != nil {
			t.Fail = "user " + u.Name + ": " + err.Error()
		}
		want["passwordHash"] = hash
	}
	p.want(t, want)
}

// file adds the task that writes a file, rendered for the host; an error of its template becomes the task's.
func (p *planner) file(f *model.File) int {
	t := p.task(model.TypeFiles, f.Path, f.Name, verbApply, "Update file "+f.Name)
	if n, ok := p.done[doneKey(&t)]; ok {
		p.files = append(p.files, n)
		return n
	}
	want := placed(f.Owner, f.Group, f.Mode)
	content, err := p.render(f)
	switch {
	case err != nil:
		t.Fail = "file " + f.Name + ": " + err.Error()
	case len(content) == 0:
		want["content"] = ""
	default:
		t.Content = state.Digest(content)
	}
	n := p.want(t, want)
	if t.Content != "" {
		p.draft.Contents[n] = content
	}
	if p.app.Files[f.Name].Content == "" {
		if p.draft.blank == nil {
			p.draft.blank = map[string]bool{}
		}
		p.draft.blank[doneKey(&t)] = true
	}
	p.files = append(p.files, n)
	return n
}

func (p *planner) render(f *model.File) ([]byte, error) {
	if p.data == nil {
		p.data = newRenderer(p.r, p.host, OwnerOfContext(p.ctx))
	}
	return p.data.file(p.app, f)
}

// enabled says whether a service is to run: as the context overrides it, else as the application says.
func enabled(ctx *model.ContextRow, s *model.Service) bool {
	for _, o := range ctx.Services {
		if o.Name == s.Name {
			return o.Enabled
		}
	}
	return s.Enabled
}

// service adds the task that makes a service run now and at boot, or neither. It is restarted when one of the
// draft's files of the application changed, since its package may have started it before they were there.
func (p *planner) service(s *model.Service) int {
	on := enabled(p.ctx, s)
	word := "Enable and start service "
	if !on {
		word = "Stop and disable service "
	}
	t := p.task(model.TypeServices, s.Name, s.Name, verbApply, word+s.Name)
	if on {
		t.Restart = slices.Clone(p.files)
	}
	return p.want(t, map[string]any{"enabled": on, "running": on})
}

// toJSON writes plain maps and lists, which cannot fail.
func toJSON(v any) json.RawMessage {
	b, err := json.Marshal(v)
	if err != nil {
		panic(fmt.Sprintf("write %T as JSON: %v", v, err))
	}
	return b
}

// isText says whether a content is text, and so a template; other contents are put as they are.
func isText(content []byte) bool { return utf8.Valid(content) && !slices.Contains(content, 0) }
