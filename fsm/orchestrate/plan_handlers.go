package orchestrate

import (
	"slices"
	"strings"

	"github.com/muster-hq/muster/fsm/model"
	"github.com/muster-hq/muster/fsm/state"
)

// handlers adds the actions of the handlers that name one of the keys, in order. A step that the draft has
// already is not taken twice; a restart or reload that came before a later update moves behind it.
func (p *planner) handlers(keys ...string) {
	for i := range p.app.Document.Handlers {
		h := &p.app.Document.Handlers[i]
		if slices.ContainsFunc(keys, h.Triggers) {
			p.handler(h)
		}
	}
}

func (p *planner) handler(h *model.Handler) {
	for _, do := range h.Do {
		kind, name, _ := do.Target()
		f, s := p.app.Document.File(name), p.app.Document.Service(name)
		switch {
		case kind == "file" && f != nil && do.Action == "update":
			p.file(f)
		case kind == "file" && f != nil && do.Action == "execute":
			p.act(p.execute(f))
		case kind == "service" && s != nil && do.Action == "update":
			p.service(s)
		case kind == "service" && s != nil:
			p.act(p.serviceAction(s.Name, do.Action))
		}
	}
}

func (p *planner) execute(f *model.File) model.Task {
	t := p.task(collectionExecutables, f.Path, f.Name, verbAct, "Execute file "+f.Name)
	t.Action, t.Args = "run", toJSON(map[string]any{"argv": []string{f.Path}})
	t.Origin.Type = model.TypeFiles
	return t
}

func (p *planner) serviceAction(name, action string) model.Task {
	t := p.task(model.TypeServices, name, name, verbAct, strings.ToUpper(action[:1])+action[1:]+" service "+name)
	t.Action = action
	return t
}

// act adds an action once. A restart or reload is taken out where an update came after it, and added at the end.
func (p *planner) act(t model.Task) {
	before, ok := p.done[doneKey(&t)]
	if !ok {
		p.add(t)
		return
	}
	updated := slices.ContainsFunc(p.draft.Tasks[before+1:], func(o model.Task) bool { return o.Verb == verbApply })
	if t.Collection == model.TypeServices && updated {
		p.takeOut(before)
		p.add(t)
	}
}

// takeOut removes a task and renumbers those behind it.
func (p *planner) takeOut(num int) {
	shift := func(n int) int {
		if n > num {
			return n - 1
		}
		return n
	}
	p.draft.Tasks = slices.Delete(p.draft.Tasks, num, num+1)
	contents := map[int][]byte{}
	for n, c := range p.draft.Contents {
		contents[shift(n)] = c
	}
	p.draft.Contents = contents
	clear(p.done)
	for i := range p.draft.Tasks {
		t := &p.draft.Tasks[i]
		t.OrderNum = i
		for j := range t.Restart {
			t.Restart[j] = shift(t.Restart[j])
		}
		p.done[doneKey(t)] = i
	}
	for i := range p.files {
		p.files[i] = shift(p.files[i])
	}
}

// planSwitch plans what a change of a context's overrides means: the services that are switched.
func planSwitch(r state.Reader, was, is *model.ContextRow) Draft {
	p := newPlanner(r, is)
	if p == nil {
		return Draft{}
	}
	p.draft.Description = "Switch services of application " + p.app.Name
	for i := range p.app.Document.Services {
		s := &p.app.Document.Services[i]
		if enabled(was, s) != enabled(is, s) {
			p.service(s)
		}
	}
	return p.draft
}
