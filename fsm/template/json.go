package template

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"unicode/utf8"
)

const (
	// MaxDataBytes is how long a JSON document may be.
	MaxDataBytes = 16 << 20
	// MaxDataDepth is how deep its lists and objects may nest.
	MaxDataDepth = 200
)

// DecodeJSON reads one JSON value. It keeps the order of the keys and numbers exactly; null becomes a missing value
// (nil). A key that occurs twice, invalid UTF-8, text after the value and anything beyond MaxDataBytes, MaxDataDepth
// or MaxDigits are errors (*Error, with line and column), whose text quotes no value.
func DecodeJSON(data []byte) (*Value, error) {
	d := jsonDecoder{src: source{name: "data", text: string(data)}}
	if len(data) > MaxDataBytes {
		d.src.text = ""
		return nil, d.fail(0, Limit, "the JSON is %d bytes long; at most %d are allowed", len(data), MaxDataBytes)
	}
	if !utf8.Valid(data) {
		return nil, d.fail(0, Syntax, "the JSON is not valid UTF-8; save it in that encoding")
	}
	d.dec = json.NewDecoder(bytes.NewReader(data))
	d.dec.UseNumber()
	v, err := d.value(0)
	if err != nil {
		return nil, err
	}
	if _, err := d.dec.Token(); !errors.Is(err, io.EOF) {
		return nil, d.fail(d.dec.InputOffset(), Syntax, "there is text after the end of the JSON value")
	}
	return v, nil
}

type jsonDecoder struct {
	src source
	dec *json.Decoder
}

func (d *jsonDecoder) fail(at int64, kind Kind, format string, args ...any) *Error {
	return d.src.errorAt(int(at), DataPhase, kind, format, args...)
}

func (d *jsonDecoder) token() (json.Token, error) {
	t, err := d.dec.Token()
	if err == nil {
		return t, nil
	}
	// The decoder's own offsets count from the value it is in; those of Unmarshal from the start.
	var raw json.RawMessage
	var syntax *json.SyntaxError
	if err := json.Unmarshal([]byte(d.src.text), &raw); !errors.As(err, &syntax) {
		return nil, d.fail(d.dec.InputOffset(), Syntax, "this is not JSON")
	}
	if int(syntax.Offset) >= len(d.src.text) && errors.Is(err, io.ErrUnexpectedEOF) || errors.Is(err, io.EOF) {
		return nil, d.fail(int64(len(d.src.text)), Syntax, "the JSON ends too early")
	}
	return nil, d.fail(syntax.Offset-1, Syntax, "this is not JSON: an unexpected character, or a quote or comma that is missing before it")
}

func (d *jsonDecoder) value(depth int) (*Value, error) {
	t, err := d.token()
	if err != nil {
		return nil, err
	}
	switch t := t.(type) {
	case string:
		return Text(t), nil
	case bool:
		return Bool(t), nil
	case json.Number:
		n, err := parseDecimal(t.String())
		if err != nil {
			return nil, d.fail(d.dec.InputOffset(), BadValue, "%s", err.Error())
		}
		return number(n), nil
	case json.Delim:
		if depth >= MaxDataDepth {
			return nil, d.fail(d.dec.InputOffset(), Limit, "lists and objects nest deeper than %d", MaxDataDepth)
		}
		if t == '[' {
			return d.list(depth + 1)
		}
		if t == '{' {
			return d.object(depth + 1)
		}
		return nil, d.fail(d.dec.InputOffset(), Syntax, "a value is missing before %q", t.String())
	}
	return nil, nil
}

func (d *jsonDecoder) list(depth int) (*Value, error) {
	v := &Value{kind: kindList}
	for d.dec.More() {
		item, err := d.value(depth)
		if err != nil {
			return nil, err
		}
		v.items = append(v.items, item)
	}
	_, err := d.token()
	if err != nil {
		return nil, err
	}
	return v, nil
}

func (d *jsonDecoder) object(depth int) (*Value, error) {
	o := NewObject()
	for d.dec.More() {
		t, err := d.token()
		if err != nil {
			return nil, err
		}
		key, ok := t.(string)
		if !ok {
			return nil, d.fail(d.dec.InputOffset(), Syntax, "a key must be a text")
		}
		if _, twice := o.values[key]; twice {
			return nil, d.fail(d.dec.InputOffset(), Syntax, "the key %s occurs twice in one object", fmt.Sprintf("%q", key))
		}
		item, err := d.value(depth)
		if err != nil {
			return nil, err
		}
		o.Set(key, item)
	}
	if _, err := d.token(); err != nil {
		return nil, err
	}
	return o.Value(), nil
}
