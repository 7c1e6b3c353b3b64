package model

import (
	"fmt"
	"reflect"
	"strings"
)

// Names of fields are exact. encoding/json takes one for another that differs by case only, and of several the last one; what
// looks at a document by its keys does not. So a body with such a name is refused, before anything is made of it.

// misnamed is a key that is the name of a field but for its case.
type misnamed struct {
	path, key, name string
}

// checkNames refuses keys in data, which reads as a t, that are names of t's fields but for their case. Keys that nobody knows
// are left alone (contract section 1.6), and so are values that have no fields of ours, such as those of settings.
func checkNames(data []byte, t reflect.Type) error {
	m := findMisnamed(data, t, 0)
	if m == nil {
		return nil
	}
	where := "the body"
	if m.path != "" {
		where = strings.TrimPrefix(m.path, ".")
	}
	return Errorf(Invalid, "%s has the key %q, which is %q but for its case: names of fields are exact, so write %q, or leave it out", where, m.key, m.name, m.name)
}

// maxNamesDepth bounds how deep types are followed; none of ours nests as deep.
const maxNamesDepth = 32

func findMisnamed(data []byte, t reflect.Type, depth int) *misnamed {
	for t.Kind() == reflect.Pointer {
		t = t.Elem()
	}
	if depth > maxNamesDepth {
		return nil
	}
	switch t.Kind() {
	case reflect.Struct:
		return misnamedField(data, t, depth)
	case reflect.Slice, reflect.Array:
		return misnamedItem(data, t.Elem(), depth)
	case reflect.Map:
		if !hasNames(t.Elem()) {
			return nil
		}
		fields, _ := ObjectFields(data)
		for _, f := range fields {
			if m := findMisnamed(f.Value, t.Elem(), depth+1); m != nil {
				m.path = "." + f.Name + m.path
				return m
			}
		}
	}
	return nil
}

// hasNames says whether values of a type may have fields of ours.
func hasNames(t reflect.Type) bool {
	for {
		switch t.Kind() {
		case reflect.Struct:
			return true
		case reflect.Pointer, reflect.Slice, reflect.Array, reflect.Map:
			t = t.Elem()
		default:
			return false
		}
	}
}

func misnamedField(data []byte, t reflect.Type, depth int) *misnamed {
	fields, ok := ObjectFields(data)
	if !ok || len(fields) == 0 {
		return nil
	}
	known := namesOf(nil, t)
	for _, f := range fields {
		of, like := fieldNamed(known, f.Name)
		if of == nil {
			if like != "" {
				return &misnamed{key: f.Name, name: like}
			}
			continue
		}
		if !hasNames(of) {
			continue
		}
		if m := findMisnamed(f.Value, of, depth+1); m != nil {
			m.path = "." + f.Name + m.path
			return m
		}
	}
	return nil
}

func misnamedItem(data []byte, of reflect.Type, depth int) *misnamed {
	if !hasNames(of) {
		return nil
	}
	i := plainSpace(data, 0)
	if i >= len(data) || data[i] != '[' {
		return nil
	}
	for n := 0; ; n++ {
		i = plainSpace(data, i+1)
		end := scanValue(data, i)
		if end <= i {
			return nil
		}
		if m := findMisnamed(data[i:end:end], of, depth+1); m != nil {
			m.path = fmt.Sprintf("[%d]%s", n, m.path)
			return m
		}
		if i = plainSpace(data, end); i >= len(data) || data[i] != ',' {
			return nil
		}
	}
}

// namedField is a field of a type by its name in JSON.
type namedField struct {
	name string
	of   reflect.Type
}

// namesOf are the fields of a struct as encoding/json finds them, those of embedded structs included.
func namesOf(list []namedField, t reflect.Type) []namedField {
	for i := range t.NumField() {
		f := t.Field(i)
		name, _, _ := strings.Cut(f.Tag.Get("json"), ",")
		switch {
		case name == "-":
		case f.Anonymous && name == "" && f.Type.Kind() == reflect.Struct:
			list = namesOf(list, f.Type)
		case !f.IsExported():
		case name == "":
			list = append(list, namedField{f.Name, f.Type})
		default:
			list = append(list, namedField{name, f.Type})
		}
	}
	return list
}

// fieldNamed finds a field by its name, or the name of one that differs from key by case only.
func fieldNamed(known []namedField, key string) (of reflect.Type, like string) {
	for i := range known {
		if known[i].name == key {
			return known[i].of, ""
		}
	}
	for i := range known {
		if strings.EqualFold(known[i].name, key) {
			return nil, known[i].name
		}
	}
	return nil, ""
}
