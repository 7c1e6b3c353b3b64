package simulate

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"reflect"
	"strings"
	"sync"

	"github.com/muster-hq/muster/agent/resource"
	"github.com/muster-hq/muster/agent/sys"
)

// missing begins the names of packages that cannot be installed: failures can be tried out with them.
const missing = "no-such-"

// shelf is a collection on paper: what is applied is written down, and is so from then on.
type shelf struct {
	name, file string

	mu    sync.Mutex
	items map[string]resource.State
}

func openShelf(name, file string) (*shelf, error) {
	s := &shelf{name: name, file: file, items: map[string]resource.State{}}
	b, err := os.ReadFile(file)
	if errors.Is(err, fs.ErrNotExist) {
		return s, nil
	}
	if err == nil {
		err = json.Unmarshal(b, &s.items)
	}
	if err != nil {
		return nil, fmt.Errorf("the simulated %s: %w", name, err)
	}
	return s, nil
}

// Name implements resource.Collection.
func (s *shelf) Name() string { return s.name }

// there is the attribute that tells whether a resource exists, as contract section 3.6 calls it.
func (s *shelf) there() string {
	if s.name == "packages" {
		return "installed"
	}
	return "present"
}

// Read implements resource.Collection.
func (s *shelf) Read(_ context.Context, id string) (resource.State, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	out := resource.State{s.there(): false}
	item, ok := s.items[id]
	if !ok {
		return out, nil
	}
	for k, v := range item {
		if k != "passwordHash" {
			out[k] = v
		}
	}
	out[s.there()] = true
	return out, nil
}

// List implements resource.Lister.
func (s *shelf) List(context.Context) ([]string, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	var out []string
	for id := range s.items {
		out = append(out, id)
	}
	return out, nil
}

// Check implements resource.Collection.
func (s *shelf) Check(_ context.Context, id string, want json.RawMessage) (resource.Diff, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	d, _, _, err := s.compare(id, want)
	return d, err
}

// Apply implements resource.Collection.
func (s *shelf) Apply(_ context.Context, id string, want json.RawMessage) (resource.Diff, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	d, next, gone, err := s.compare(id, want)
	if err != nil || d.Empty() {
		return d, err
	}
	if s.name == "packages" && !gone && strings.HasPrefix(id, missing) {
		return resource.Diff{}, fmt.Errorf("there is no package %s: names that begin with %s cannot be installed on a simulated machine", id, missing)
	}
	old, had := s.items[id]
	if gone {
		delete(s.items, id)
	} else {
		s.items[id] = next
	}
	b, err := json.Marshal(s.items)
	if err == nil {
		err = writeFile(s.file, b)
	}
	if err != nil {
		if delete(s.items, id); had {
			s.items[id] = old
		}
		return resource.Diff{}, fmt.Errorf("write the simulated %s down: %w", s.name, err)
	}
	return d, nil
}

// compare tells what differs, and what the item is once that is applied; gone says that it is not there then.
func (s *shelf) compare(id string, raw json.RawMessage) (d resource.Diff, next resource.State, gone bool, err error) {
	want := map[string]any{}
	if len(raw) > 0 {
		if err := json.Unmarshal(raw, &want); err != nil {
			return d, nil, false, fmt.Errorf("the wanted attributes are not a JSON object: %w", err)
		}
	}
	item, had := s.items[id]
	if want["ensure"] == "absent" {
		if had {
			d.Add(s.there(), false, true)
		}
		return d, nil, true, nil
	}
	delete(want, "ensure")
	next = resource.State{}
	for k, v := range item {
		next[k] = v
	}
	if !had && s.name != "services" { // what a service lacks is told by its attributes
		d.Add(s.there(), true, false)
	}
	for k, v := range want {
		if found, ok := item[k]; ok && reflect.DeepEqual(found, v) {
			continue
		}
		next[k] = v
		switch {
		case k == "passwordHash":
			d.Add(k, "***", "***")
		case s.name == "services" && item[k] == nil:
			d.Add(k, v, false)
		case had || s.name == "services":
			d.Add(k, v, item[k])
		}
	}
	return d, next, false, nil
}

// Act implements resource.Actor for services: a restart of one that runs changes nothing on paper.
func (s *shelf) Act(_ context.Context, id string, a resource.Action) (resource.Output, error) {
	if s.name != "services" {
		return resource.Output{}, fmt.Errorf("simulated %s have no action %q", s.name, a.Verb)
	}
	return resource.Output{Stdout: "simulated: " + a.Verb + " of service " + id + "\n"}, nil
}

// Done implements resource.Actor: an action on paper may be done again.
func (s *shelf) Done(context.Context, string, resource.Action, int64) (bool, error) {
	return false, nil
}

// executables are programs that are not run: on this machine they would do what is meant for another.
type executables struct{ m *sys.Machine }

// Name implements resource.Collection.
func (*executables) Name() string { return "executables" }

// Read implements resource.Collection.
func (e *executables) Read(_ context.Context, id string) (resource.State, error) {
	_, err := e.m.Lstat(id)
	if errors.Is(err, fs.ErrNotExist) {
		return resource.State{"present": false}, nil
	}
	return resource.State{"present": err == nil}, err
}

// Check implements resource.Collection.
func (e *executables) Check(context.Context, string, json.RawMessage) (resource.Diff, error) {
	return resource.Diff{}, nil
}

// Apply implements resource.Collection.
func (e *executables) Apply(context.Context, string, json.RawMessage) (resource.Diff, error) {
	return resource.Diff{}, nil
}

// Act implements resource.Actor. A program that is not there fails, as on any machine.
func (e *executables) Act(ctx context.Context, id string, _ resource.Action) (resource.Output, error) {
	st, err := e.Read(ctx, id)
	if err != nil {
		return resource.Output{}, err
	}
	if st["present"] != true {
		return resource.Output{ExitCode: 127}, &resource.ExitError{Code: 127, Stderr: id + ": not found"}
	}
	return resource.Output{Stdout: "simulated: " + id + " was not run\n"}, nil
}

// Done implements resource.Actor.
func (*executables) Done(context.Context, string, resource.Action, int64) (bool, error) {
	return false, nil
}
