package spec

import (
	"encoding/json"
	"reflect"
	"strings"
	"time"

	"github.com/muster-hq/muster/fsm/model"
)

// wireTypes are the Go types of the names that the table's bodies and answers have.
func wireTypes() map[string]reflect.Type {
	all := map[string]reflect.Type{}
	for _, v := range []any{
		model.Organization{}, model.Environment{}, model.Host{}, model.Application{}, model.ApplicationContext{}, model.PlatformContext{},
		model.DistributionContext{}, model.Platform{}, model.Distribution{}, model.Flavor{}, model.File{}, model.Parameter{}, model.Setting{},
		model.SettingTree{}, model.SettingImpact{}, model.OriginSetting{}, model.Group{}, model.GroupTree{}, model.ApplicationKey{},
		model.Instance{}, model.ComplianceError{}, model.MonitoringAlert{}, model.User{}, model.Invitation{}, model.Session{}, model.Identity{},
		model.Hostgroup{}, model.Orchestration{}, model.OrchestrationHandler{}, model.Webhook{}, model.WebhookResult{}, model.NotificationChannel{}, model.RpmModule{},
		model.Git{}, model.Job{}, model.Image{}, model.Machine{}, model.Plan{}, model.PlanProgress{}, model.Quota{}, model.QuotaUse{},
		Problem{}, UserAccount{}, Password{}, Preview{}, EnrolTokenRequest{}, EnrolToken{}, EventList{}, Event{}, JoinRequest{}, JoinTokenRequest{},
		JoinToken{}, LeaderRequest{}, ClusterStatus{}, Account{}, SessionRequest{}, TOTPSecret{}, TOTPCode{}, Confirmation{}, IdentityLink{}, AuditLog{}, Log{},
	} {
		t := reflect.TypeOf(v)
		all[t.Name()] = t
	}
	all["Change"] = reflect.TypeFor[model.ChangeView]()
	return all
}

// shapes makes JSON Schemas of the types, each once, under the name that the table or Go has for it.
type shapes struct {
	types map[string]reflect.Type
	done  piece
}

// ref is the schema of a name of the table. What has no type here is any object.
func (s *shapes) ref(name string) piece {
	t, ok := s.types[name]
	if !ok {
		return piece{"type": "object"}
	}
	return s.named(name, t)
}

func (s *shapes) named(name string, t reflect.Type) piece {
	if _, ok := s.done[name]; !ok {
		s.done[name] = nil // it may hold itself
		s.done[name] = s.object(t)
	}
	return refTo("schemas", name)
}

// input is the schema of a body: no field must be there, and those that nobody knows are ignored (contract section 1.6).
func (s *shapes) input(name string) piece {
	t := s.types[name]
	properties := piece{}
	for _, f := range fieldsOf(t) {
		properties[f.name] = piece{}
		if kind := kindOf(f.typ); kind != "" && kind != "boolean" { // texts count as booleans in places
			properties[f.name] = piece{"type": []string{kind, "null"}}
		}
	}
	return piece{"type": "object", "properties": properties}
}

// field is a field as JSON has it.
type field struct {
	name     string
	typ      reflect.Type
	optional bool
}

// fieldsOf are the fields of a struct, those of embedded ones in their place.
func fieldsOf(t reflect.Type) []field {
	var all []field
	for i := range t.NumField() {
		f := t.Field(i)
		name, options, _ := strings.Cut(f.Tag.Get("json"), ",")
		switch {
		case f.Anonymous && name == "":
			inner := f.Type
			if inner.Kind() == reflect.Pointer {
				inner = inner.Elem()
			}
			all = append(all, fieldsOf(inner)...)
			continue
		case !f.IsExported() || name == "-":
			continue
		case name == "":
			name = f.Name
		}
		all = append(all, field{name, f.Type, strings.Contains(options, "omitempty") || strings.Contains(options, "omitzero")})
	}
	return all
}

// object is the schema of a struct that is answered. One that carries what it does not know is open, and may lack fields.
func (s *shapes) object(t reflect.Type) piece {
	_, carries := t.FieldByName("carried")
	properties, required := piece{}, []string{}
	for _, f := range fieldsOf(t) {
		schema := s.of(f.typ)
		if f.optional && f.typ.Kind() == reflect.Pointer {
			schema = s.of(f.typ.Elem())
		}
		properties[f.name] = schema
		if !f.optional && !carries || carries && f.name == "name" {
			required = append(required, f.name)
		}
	}
	out := piece{"type": "object", "properties": properties, "required": required}
	if !carries {
		out["additionalProperties"] = false
	}
	return out
}

// kindOf is JSON's word for a type; "" where there is more than one.
func kindOf(t reflect.Type) string {
	switch {
	case t == reflect.TypeFor[json.RawMessage]():
		return ""
	case t == reflect.TypeFor[time.Time]() || t == reflect.TypeFor[[]byte]():
		return "string"
	}
	switch t.Kind() {
	case reflect.String:
		return "string"
	case reflect.Bool:
		return "boolean"
	case reflect.Int, reflect.Int8, reflect.Int16, reflect.Int32, reflect.Int64, reflect.Uint, reflect.Uint8, reflect.Uint16, reflect.Uint32, reflect.Uint64:
		return "integer"
	case reflect.Float32, reflect.Float64:
		return "number"
	case reflect.Slice, reflect.Array:
		return "array"
	case reflect.Struct, reflect.Map:
		return "object"
	}
	return ""
}

// of is the schema of a type.
func (s *shapes) of(t reflect.Type) piece {
	if t == reflect.TypeFor[json.RawMessage]() || t.Kind() == reflect.Interface {
		return piece{}
	}
	if t.Kind() == reflect.Pointer {
		return piece{"anyOf": []any{s.of(t.Elem()), piece{"type": "null"}}}
	}
	kind := kindOf(t)
	switch {
	case kind == "array":
		return piece{"type": "array", "items": s.of(t.Elem())}
	case t.Kind() == reflect.Map:
		return piece{"type": "object", "additionalProperties": s.of(t.Elem())}
	case kind == "object":
		name := t.Name()
		if known, ok := s.types[name]; name == "" || ok && known != t { // two packages may have one name
			return s.object(t)
		}
		return s.named(name, t)
	}
	return piece{"type": kind}
}
