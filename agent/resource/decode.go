package resource

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"reflect"
	"slices"
	"strings"
)

// ErrUnavailable is wrapped by every answer of a collection that cannot work where the agent runs,
// for example packages when the agent is confined to a folder.
var ErrUnavailable = errors.New("not available under --root")

// The words of "ensure" that every collection knows; some know more.
const (
	Present = "present"
	Absent  = "absent"
)

// ExitError is an action's own failure: the program ran and ended with a code other than 0.
type ExitError struct {
	// Code is the exit status; 128 + signal number when a signal ended the program.
	Code int
	// Stderr is the end of what the program wrote to standard error.
	Stderr string
}

// Error tells the code and the last words of the program.
func (e *ExitError) Error() string {
	text := strings.TrimSpace(e.Stderr)
	if text == "" {
		return fmt.Sprintf("ended with status %d", e.Code)
	}
	return fmt.Sprintf("ended with status %d: %s", e.Code, text)
}

// Decode reads want strictly into the struct that into points to: an attribute whose name no json tag
// of the struct has, spelled exactly so, is an error that names it and the known ones. An empty want
// states nothing. A null is an attribute that is not stated.
func Decode(want json.RawMessage, into any) error {
	if len(bytes.TrimSpace(want)) == 0 {
		return nil
	}
	var given map[string]json.RawMessage
	if err := json.Unmarshal(want, &given); err != nil || given == nil {
		if err == nil {
			err = errors.New("it is null")
		}
		return fmt.Errorf("the wanted attributes are not a JSON object: %w", err)
	}
	known := attributes(reflect.TypeOf(into).Elem())
	for name, value := range given {
		if !slices.Contains(known, name) {
			return fmt.Errorf("unknown attribute %q; known are %s", name, strings.Join(known, ", "))
		}
		if string(value) == "null" {
			delete(given, name)
		}
	}
	clean, err := json.Marshal(given)
	if err != nil {
		return fmt.Errorf("the wanted attributes: %w", err)
	}
	if err := json.Unmarshal(clean, into); err != nil {
		var wrong *json.UnmarshalTypeError
		if errors.As(err, &wrong) {
			return fmt.Errorf("attribute %q cannot be a %s", wrong.Field, wrong.Value)
		}
		return fmt.Errorf("the wanted attributes: %w", err)
	}
	return nil
}

func attributes(t reflect.Type) []string {
	var names []string
	for i := range t.NumField() {
		if name, _, _ := strings.Cut(t.Field(i).Tag.Get("json"), ","); name != "" && name != "-" {
			names = append(names, name)
		}
	}
	slices.Sort(names)
	return names
}

// Ensure checks the word of attribute "ensure" against those the collection knows; "" is Present.
func Ensure(word string, known ...string) (string, error) {
	if word == "" {
		return Present, nil
	}
	if !slices.Contains(known, word) {
		return "", fmt.Errorf("ensure %q is not known; use one of %s", word, strings.Join(known, ", "))
	}
	return word, nil
}
