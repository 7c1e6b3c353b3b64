package main

import (
	"encoding/json"
	"fmt"
	"regexp"

	"go.yaml.in/yaml/v3"

	"github.com/muster-hq/muster/internal/ordered"
)

// maxYAMLNodes bounds a document: aliases make a short text large.
const maxYAMLNodes = 1_000_000

// decodeYAML decodes one YAML document to what JSON knows: in the order of its keys, with numbers as they are written. It
// refuses keys that are there twice, and names the line.
func decodeYAML(text []byte) (any, error) {
	var doc yaml.Node
	if err := yaml.Unmarshal(text, &doc); err != nil {
		return nil, err
	}
	if doc.Kind == 0 {
		return nil, nil
	}
	left := maxYAMLNodes
	return fromYAML(&doc, &left, 0)
}

// jsonNumber is what JSON takes for a number.
func jsonNumber() *regexp.Regexp {
	return regexp.MustCompile(`^-?(0|[1-9][0-9]*)(\.[0-9]+)?([eE][+-]?[0-9]+)?$`)
}

func fromYAML(n *yaml.Node, left *int, depth int) (any, error) {
	if *left--; *left < 0 || depth > 100 {
		return nil, fmt.Errorf("line %d: the document is too large, or too deep", n.Line)
	}
	switch n.Kind {
	case yaml.DocumentNode:
		return fromYAML(n.Content[0], left, depth)
	case yaml.AliasNode:
		return fromYAML(n.Alias, left, depth+1)
	case yaml.SequenceNode:
		list := []any{}
		for _, c := range n.Content {
			v, err := fromYAML(c, left, depth+1)
			if err != nil {
				return nil, err
			}
			list = append(list, v)
		}
		return list, nil
	case yaml.MappingNode:
		return objectFromYAML(n, left, depth)
	}
	return scalarFromYAML(n)
}

func objectFromYAML(n *yaml.Node, left *int, depth int) (any, error) {
	o := ordered.New()
	var merged []*yaml.Node
	for i := 0; i+1 < len(n.Content); i += 2 {
		key, value := n.Content[i], n.Content[i+1]
		if key.ShortTag() == "!!merge" {
			merged = append(merged, value)
			continue
		}
		if key.Kind != yaml.ScalarNode {
			return nil, fmt.Errorf("line %d: a key must be a text", key.Line)
		}
		if o.Has(key.Value) {
			return nil, fmt.Errorf("line %d: the key %q is there twice", key.Line, key.Value)
		}
		v, err := fromYAML(value, left, depth+1)
		if err != nil {
			return nil, err
		}
		o.SetValueForKey(key.Value, v)
	}
	for _, value := range merged { // what "<<" names fills up what is not given
		v, err := fromYAML(value, left, depth+1)
		if err != nil {
			return nil, err
		}
		from, ok := v.(*ordered.Object)
		if !ok {
			return nil, fmt.Errorf("line %d: << must name an object", value.Line)
		}
		for _, k := range from.Keys() {
			if !o.Has(k) {
				o.SetValueForKey(k, from.Get(k))
			}
		}
	}
	return o, nil
}

func scalarFromYAML(n *yaml.Node) (any, error) {
	switch n.ShortTag() {
	case "!!null":
		return nil, nil
	case "!!bool":
		var b bool
		err := n.Decode(&b)
		return b, err
	case "!!int", "!!float":
		if jsonNumber().MatchString(n.Value) {
			return json.Number(n.Value), nil
		}
		var v any // 0x1f, 1_000
		if err := n.Decode(&v); err != nil {
			return nil, err
		}
		b, err := json.Marshal(v)
		if err != nil {
			return nil, fmt.Errorf("line %d: %s is no number that JSON knows", n.Line, n.Value)
		}
		return json.Number(b), nil
	}
	return n.Value, nil
}
