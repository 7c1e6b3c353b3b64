package spec_test

import (
	"testing"

	"github.com/muster-hq/muster/api/spec"
	"github.com/muster-hq/muster/fsm/model"
)

// What lists hold has places that part any two items.
func TestPlacesDiffer(t *testing.T) {
	for name, two := range map[string][2]any{
		"hosts":         {model.Host{Name: "a"}, model.Host{Name: "b"}},
		"settings":      {model.Setting{Key: "a"}, model.Setting{Key: "b"}},
		"contexts":      {model.ApplicationContext{Application: "a"}, model.ApplicationContext{Application: "b"}},
		"compliance":    {model.ComplianceError{Name: "x", Application: "a", Type: "s"}, model.ComplianceError{Name: "x", Application: "a", Type: "t"}},
		"invitations":   {model.Invitation{Username: "u", UUID: "1"}, model.Invitation{Username: "u", UUID: "2"}},
		"join tokens":   {spec.JoinToken{ID: "1"}, spec.JoinToken{ID: "2"}},
		"enrol tokens":  {spec.EnrolToken{ID: "1"}, spec.EnrolToken{ID: "2"}},
		"changes":       {model.Change{OrderNum: 9}, model.Change{OrderNum: 10}},
		"users":         {model.User{Username: "a"}, model.User{Username: "b"}},
		"pointers also": {&model.Host{Name: "a"}, &model.Host{Name: "b"}},
	} {
		if a, b := spec.Place(two[0]), spec.Place(two[1]); a == "" || a >= b {
			t.Errorf("%s: %q and %q", name, a, b)
		}
	}
	if p := spec.Place("text"); p != "" {
		t.Errorf("a text has the place %q", p)
	}
}
