package orchestrate

import (
	"maps"
	"slices"

	"github.com/muster-hq/muster/fsm/model"
	"github.com/muster-hq/muster/fsm/state"
)

// failure is the last failed task of one kind on one resource that nothing has made good.
type failure struct {
	num    int // of its change
	change string
	exec   string // path of the file that it was to run; "": it was something else
}

// thing names what a task is about, and part what of it: all that makes it as described is one part, each action one of its own.
func thing(t *model.Task) (thing, part string) {
	if t.Verb == verbAct {
		part = t.Action
	}
	return t.Collection + "\x00" + t.Resource, part
}

// failures are the failed tasks of a host's machine that have not been made good: by a later task that did the same, by one that
// made the resource as it is described now, or by a retry of the change. What was to be run and is of no application of the host any
// more is not waited for either. What failed on an earlier machine of the host does not count. They go by thing and part.
func failures(r state.Reader, i *model.InstanceRow) map[[2]string]failure {
	left, first := map[[2]string]failure{}, -1
	for _, c := range state.List[model.Change](r, model.FailedChangesOf(i.HostID)) {
		if c.Created.Before(i.Created) {
			continue
		}
		for k := range c.Tasks {
			t := &c.Tasks[k]
			what, part := thing(t)
			if t.Status != model.TaskError || t.Mended || left[[2]string{what, part}].num > c.OrderNum {
				continue
			}
			f := failure{num: c.OrderNum, change: c.ID}
			if t.Collection == collectionExecutables {
				f.exec = t.Resource
			}
			left[[2]string{what, part}] = f
			if first < 0 || c.OrderNum < first {
				first = c.OrderNum
			}
		}
	}
	if len(left) == 0 {
		return nil
	}
	dropUndeclared(r, i.HostID, left)
	counter, ok := state.Get[model.ChangeCounter](r, i.HostID)
	for n := first + 1; ok && n < counter.Next && len(left) > 0; n++ { // what makes good mostly comes soon after
		if c, ok := state.Find[model.Change](r, model.ChangeNumbered(i.HostID, n)); ok && c.Done {
			makeGood(left, c)
		}
	}
	return left
}

// makeGood takes out what a later change has made good.
func makeGood(left map[[2]string]failure, c *model.Change) {
	if c.Retries != "" {
		maps.DeleteFunc(left, func(_ [2]string, f failure) bool { return f.change == c.Retries })
	}
	for k := range c.Tasks {
		t := &c.Tasks[k]
		if t.Status != model.TaskOK {
			continue
		}
		what, part := thing(t)
		maps.DeleteFunc(left, func(key [2]string, f failure) bool {
			return f.num < c.OrderNum && key[0] == what && (part == "" || part == key[1])
		})
	}
}

// dropUndeclared takes out what was to be run and is of no application of the host any more.
func dropUndeclared(r state.Reader, hostID string, left map[[2]string]failure) {
	if !slices.ContainsFunc(slices.Collect(maps.Values(left)), func(f failure) bool { return f.exec != "" }) {
		return
	}
	declared := map[string]bool{}
	for _, ctx := range state.List[model.ContextRow](r, model.ContextsOf(hostID)) {
		if app, ok := state.Get[model.ApplicationRow](r, ctx.AppID); ok {
			for k := range app.Document.Files {
				declared[app.Document.Files[k].Path] = true
			}
		}
	}
	maps.DeleteFunc(left, func(_ [2]string, f failure) bool { return f.exec != "" && !declared[f.exec] })
}

// noteMended marks, in failed changes of a host, the tasks that later changes have made good, so that these can be deleted.
func noteMended(tx *state.Tx, hostID string, failed ...string) error {
	i, ok := state.Get[model.InstanceRow](tx, hostID)
	if !ok || len(failed) == 0 {
		return nil
	}
	left := failures(tx, i)
	for _, id := range failed {
		c, ok := state.Edit[model.Change](tx, id)
		if !ok {
			continue
		}
		noted := false
		for k := range c.Tasks {
			t := &c.Tasks[k]
			what, part := thing(t)
			if _, counts := left[[2]string{what, part}]; t.Status == model.TaskError && !t.Mended && !counts {
				t.Mended, noted = true, true
			}
		}
		if !noted {
			continue
		}
		if err := state.Put(tx, c); err != nil {
			return err
		}
	}
	return nil
}
