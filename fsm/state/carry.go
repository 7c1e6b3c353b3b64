package state

import (
	"bytes"
	"encoding/json"
	"fmt"
	"reflect"
	"slices"
	"strings"

	"github.com/muster-hq/muster/fsm/model"
)

// knownFields are the names of JSON fields that a Go type has, as they are and in lower case, as encoding/json compares.
// Nil means that the type writes itself and nothing can be carried.
type knownFields struct{ names map[string]struct{} }

func (k *knownFields) collect(t reflect.Type, depth int) {
	for i := range t.NumField() {
		f := t.Field(i)
		name, _, _ := strings.Cut(f.Tag.Get("json"), ",")
		if f.Anonymous && name == "" && depth < 8 {
			ft := f.Type
			if ft.Kind() == reflect.Pointer {
				ft = ft.Elem()
			}
			if ft.Kind() == reflect.Struct {
				k.collect(ft, depth+1)
				continue
			}
		}
		if !f.IsExported() || name == "-" {
			continue
		}
		if name == "" {
			name = f.Name
		}
		k.names[name] = struct{}{}
		k.names[strings.ToLower(name)] = struct{}{}
	}
}

// carry adds to value the top-level fields of old that the type does not know, in order of name.
func carry(old, value []byte, known *knownFields) ([]byte, error) {
	if known == nil || len(value) < 2 || value[len(value)-1] != '}' {
		return value, nil
	}
	if known.cover(old) {
		return value, nil
	}
	var fields map[string]json.RawMessage
	if err := json.Unmarshal(old, &fields); err != nil {
		return nil, fmt.Errorf("read the stored fields: %w", err)
	}
	var names []string
	for name := range fields {
		if _, ok := known.names[strings.ToLower(name)]; !ok {
			names = append(names, name)
		}
	}
	if len(names) == 0 {
		return value, nil
	}
	slices.Sort(names)
	var out bytes.Buffer
	out.Write(value[:len(value)-1])
	for _, name := range names {
		if out.Len() > 1 {
			out.WriteByte(',')
		}
		key, err := json.Marshal(name)
		if err != nil {
			return nil, fmt.Errorf("write the field name %q: %w", name, err)
		}
		out.Write(key)
		out.WriteByte(':')
		out.Write(fields[name])
	}
	out.WriteByte('}')
	return out.Bytes(), nil
}

// cover says whether an object surely has no field beside the known ones. It reads names only, since this is
// done at each write; what it cannot read at a glance is not covered. It does not check what json.Valid checks.
func (k *knownFields) cover(object []byte) bool {
	i := skipSpace(object, 0)
	if i >= len(object) || object[i] != '{' {
		return false
	}
	for i = skipSpace(object, i+1); i < len(object) && object[i] == '"'; {
		end := model.EndOfText(object, i)
		if end < 0 {
			return false
		}
		if _, ok := k.names[string(object[i+1:end-1])]; !ok { // one with an escape is not known, either
			return false
		}
		if i = skipSpace(object, end); i >= len(object) || object[i] != ':' {
			return false
		}
		if i = skipValue(object, skipSpace(object, i+1)); i < 0 || i >= len(object) {
			return false
		}
		if object[i] == ',' {
			i = skipSpace(object, i+1)
			continue
		}
		break
	}
	return i < len(object) && object[i] == '}' && skipSpace(object, i+1) == len(object)
}

func skipSpace(b []byte, i int) int {
	for i < len(b) && (b[i] == ' ' || b[i] == '\n' || b[i] == '\t' || b[i] == '\r') {
		i++
	}
	return i
}

// skipValue gives the place of the comma or brace that ends the value at i, -1 when there is none.
func skipValue(b []byte, i int) int {
	for depth := 0; i < len(b); {
		switch b[i] {
		case '"':
			if i = model.EndOfText(b, i); i < 0 {
				return -1
			}
			continue
		case '{', '[':
			depth++
		case '}', ']':
			if depth == 0 {
				return i
			}
			depth--
		case ',':
			if depth == 0 {
				return i
			}
		}
		i++
	}
	return -1
}
