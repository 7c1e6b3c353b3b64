// Package ordered decodes JSON documents with the order of their keys, exact numbers, and errors that name a line.
package ordered

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"
	"unicode/utf8"
)

// maxDepth is how deep lists and objects may lie in one another.
const maxDepth = 100

// Object is a JSON object that keeps the order of its keys. Values are nil, bool, string, json.Number, []any and *Object,
// or what was set. It has the methods by which ojg's JSONPath reads objects. Not safe for concurrent use while written.
type Object struct {
	keys   []string
	values map[string]any
}

// New makes an empty object.
func New() *Object { return &Object{values: map[string]any{}} }

// ValueForKey gives a value, and whether there is one.
func (o *Object) ValueForKey(key string) (any, bool) { v, ok := o.values[key]; return v, ok }

// Get gives a value, nil where there is none.
func (o *Object) Get(key string) any { return o.values[key] }

// Has tells whether there is a value.
func (o *Object) Has(key string) bool { _, ok := o.values[key]; return ok }

// Keys are the keys in their order. The caller leaves the slice as it is.
func (o *Object) Keys() []string { return o.keys }

// SetValueForKey replaces a value, or adds one at the end.
func (o *Object) SetValueForKey(key string, value any) {
	if _, ok := o.values[key]; !ok {
		o.keys = append(o.keys, key)
	}
	o.values[key] = value
}

// RemoveValueForKey removes a value.
func (o *Object) RemoveValueForKey(key string) {
	delete(o.values, key)
	o.keys = slices.DeleteFunc(o.keys, func(k string) bool { return k == key })
}

// Map is the object as a map; what lies in it is shared.
func (o *Object) Map() map[string]any { return maps.Clone(o.values) }

// Clone copies the object; what lies in it is shared.
func (o *Object) Clone() *Object {
	c := New()
	for _, k := range o.keys {
		c.SetValueForKey(k, o.values[k])
	}
	return c
}

// MarshalJSON keeps the order.
func (o *Object) MarshalJSON() ([]byte, error) {
	var b bytes.Buffer
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false)
	b.WriteByte('{')
	for i, k := range o.keys {
		if i > 0 {
			b.WriteByte(',')
		}
		if err := enc.Encode(k); err != nil {
			return nil, err
		}
		b.WriteByte(':')
		if err := enc.Encode(o.values[k]); err != nil {
			return nil, err
		}
	}
	b.WriteByte('}')
	return b.Bytes(), nil
}

// SyntaxError tells where a document is wrong. Lines and columns count from 1, columns in bytes.
type SyntaxError struct {
	Line, Column int
	Text         string
}

// Error names the place.
func (e *SyntaxError) Error() string {
	return fmt.Sprintf("line %d, column %d: %s", e.Line, e.Column, e.Text)
}

// Decode decodes one document. It refuses what a plain decoder takes or mends without a word: a key that is there twice,
// text that is not UTF-8, and what follows the document. The error is a *SyntaxError.
func Decode(doc []byte) (any, error) {
	if at := invalidUTF8(doc); at >= 0 {
		return nil, located(doc, at, "this is not UTF-8")
	}
	d := decoder{dec: json.NewDecoder(bytes.NewReader(doc))}
	d.dec.UseNumber()
	v, err := d.value(0)
	if err == nil {
		_, end := d.dec.Token()
		if !errors.Is(end, io.EOF) {
			err = errors.New("something follows the end of the document: remove it")
		}
	}
	if err == nil {
		return v, nil
	}
	at := d.dec.InputOffset()
	var syntax *json.SyntaxError
	if errors.As(err, &syntax) { // told by tokens, its offset is not that of the document
		if whole := json.Unmarshal(doc, new(json.RawMessage)); errors.As(whole, &syntax) {
			at = max(syntax.Offset-1, 0)
		}
	}
	if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
		at, err = int64(len(doc)), errors.New("the document ends too early")
	}
	return nil, located(doc, int(at), err.Error())
}

// DecodeObject decodes one object.
func DecodeObject(doc []byte) (*Object, error) {
	v, err := Decode(doc)
	if err != nil {
		return nil, err
	}
	o, ok := v.(*Object)
	if !ok {
		return nil, &SyntaxError{1, 1, "an object is wanted here: begin with {"}
	}
	return o, nil
}

func invalidUTF8(b []byte) int {
	for i := 0; i < len(b); {
		r, size := utf8.DecodeRune(b[i:])
		if r == utf8.RuneError && size == 1 {
			return i
		}
		i += size
	}
	return -1
}

// located is the error at an offset.
func located(doc []byte, offset int, text string) error {
	before := doc[:min(max(offset, 0), len(doc))]
	line := bytes.Count(before, []byte("\n")) + 1
	return &SyntaxError{line, len(before) - bytes.LastIndexByte(before, '\n'), text}
}

type decoder struct{ dec *json.Decoder }

func (d decoder) value(depth int) (any, error) {
	if depth > maxDepth {
		return nil, fmt.Errorf("lists and objects lie deeper than %d in one another", maxDepth)
	}
	tok, err := d.dec.Token()
	if err != nil {
		return nil, err
	}
	switch tok {
	case json.Delim('['):
		return d.list(depth)
	case json.Delim('{'):
		return d.object(depth)
	}
	return tok, nil
}

func (d decoder) list(depth int) (any, error) {
	list := []any{}
	for d.dec.More() {
		v, err := d.value(depth + 1)
		if err != nil {
			return nil, err
		}
		list = append(list, v)
	}
	_, err := d.dec.Token()
	return list, err
}

func (d decoder) object(depth int) (any, error) {
	o := New()
	for d.dec.More() {
		tok, err := d.dec.Token()
		if err != nil {
			return nil, err
		}
		key, ok := tok.(string)
		if !ok {
			return nil, errors.New("a key is wanted here")
		}
		if o.Has(key) {
			return nil, fmt.Errorf("the key %q is there twice", key)
		}
		v, err := d.value(depth + 1)
		if err != nil {
			return nil, err
		}
		o.SetValueForKey(key, v)
	}
	_, err := d.dec.Token()
	return o, err
}
