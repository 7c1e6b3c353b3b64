package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"slices"
	"strings"
	"text/tabwriter"

	"go.yaml.in/yaml/v3"

	"github.com/muster-hq/muster/internal/ordered"
)

// column is a column of a table: its title, and the field it shows, with dots for fields of fields.
// A list of texts is joined; a list of objects is counted.
type column struct{ title, field string }

func columns(pairs ...string) []column {
	var cols []column
	for i := 0; i+1 < len(pairs); i += 2 {
		cols = append(cols, column{pairs[i], pairs[i+1]})
	}
	return cols
}

// The forms of output. jsonpath= goes on with an expression.
const (
	formTable = "table"
	formWide  = "wide"
	formPath  = "jsonpath="
)

func checkOutput(form string) error {
	switch form {
	case formTable, formWide, "json", "yaml", "name":
		return nil
	}
	if path, ok := strings.CutPrefix(form, formPath); ok {
		_, err := parseJSONPath(path)
		return err
	}
	return usagef("-o takes table, wide, json, yaml, name or jsonpath=EXPRESSION, not %q", form)
}

// tabular tells whether people read the output: a table.
func (c *cli) tabular() bool { return c.output == formTable || c.output == formWide }

// whole tells whether the output is the document itself, or what a path finds in it.
func (c *cli) whole() bool { return c.output == "json" || c.output == "yaml" || c.byPath() }

func (c *cli) byPath() bool { return strings.HasPrefix(c.output, formPath) }

// printList prints objects. The first column names them for -o name.
func (c *cli) printList(w io.Writer, items []json.RawMessage, cols []column) error {
	switch {
	case c.whole():
		if items == nil {
			items = []json.RawMessage{}
		}
		b, err := json.Marshal(items)
		if err != nil {
			return fmt.Errorf("printing: %w", err)
		}
		return c.printDocument(w, b)
	case c.output == "name":
		for _, it := range items {
			if _, err := fmt.Fprintln(w, field(parse(it), cols[0].field)); err != nil {
				return err
			}
		}
		return nil
	case c.output == formWide:
		cols = widened(cols, items)
	}
	var table bytes.Buffer
	tw := tabwriter.NewWriter(&table, 2, 8, 2, ' ', 0)
	var titles []string
	for _, col := range cols {
		titles = append(titles, col.title)
	}
	_, _ = fmt.Fprintln(tw, strings.Join(titles, "\t")) // a tabwriter fails at Flush
	for _, it := range items {
		doc := parse(it)
		var cells []string
		for _, col := range cols {
			cells = append(cells, oneLine(field(doc, col.field)))
		}
		_, _ = fmt.Fprintln(tw, strings.Join(cells, "\t"))
	}
	if err := tw.Flush(); err != nil {
		return fmt.Errorf("printing a table: %w", err)
	}
	for line := range strings.Lines(table.String()) {
		if _, err := fmt.Fprintln(w, strings.TrimRight(line, " \n")); err != nil {
			return err
		}
	}
	return nil
}

// printOne prints one object: as a table, every column on a line of its own.
func (c *cli) printOne(w io.Writer, doc json.RawMessage, cols []column) error {
	switch {
	case c.whole():
		return c.printDocument(w, doc)
	case c.output == "name":
		_, err := fmt.Fprintln(w, field(parse(doc), cols[0].field))
		return err
	case c.output == formWide:
		cols = widened(cols, []json.RawMessage{doc})
	}
	tw := tabwriter.NewWriter(w, 2, 8, 2, ' ', 0)
	v := parse(doc)
	for _, col := range cols {
		_, _ = fmt.Fprintf(tw, "%s\t%s\n", col.title, oneLine(field(v, col.field)))
	}
	return tw.Flush()
}

// widened adds a column for each further plain field, in the order of the documents.
func widened(cols []column, items []json.RawMessage) []column {
	cols = slices.Clone(cols)
	have := map[string]bool{}
	for _, col := range cols {
		have[col.field] = true
	}
	for _, it := range items {
		o, err := ordered.DecodeObject(it)
		if err != nil {
			continue // shows as empty cells
		}
		for _, key := range o.Keys() {
			switch o.Get(key).(type) {
			case nil, *ordered.Object, []any:
			default:
				if !have[key] {
					have[key] = true
					cols = append(cols, column{strings.ToUpper(oneLine(key)), key})
				}
			}
		}
	}
	return cols
}

// printDocument prints JSON as it is, indented, as YAML with the same order of keys, or what a path finds in it.
func (c *cli) printDocument(w io.Writer, doc []byte) error {
	if path, ok := strings.CutPrefix(c.output, formPath); ok {
		p, err := parseJSONPath(path)
		if err != nil {
			return err
		}
		return p.print(w, doc)
	}
	if c.output == "yaml" {
		var node yaml.Node // JSON is YAML, and a node keeps the order
		if err := yaml.Unmarshal(doc, &node); err != nil {
			return fmt.Errorf("printing as YAML: %w", err)
		}
		plain(&node)
		enc := yaml.NewEncoder(w)
		enc.SetIndent(2)
		if err := enc.Encode(&node); err != nil {
			return fmt.Errorf("printing as YAML: %w", err)
		}
		return enc.Close()
	}
	var b bytes.Buffer
	if err := json.Indent(&b, bytes.TrimSpace(doc), "", "  "); err != nil {
		return fmt.Errorf("printing as JSON: %w", err)
	}
	b.WriteByte('\n')
	_, err := w.Write(b.Bytes())
	return err
}

// listPrinter prints a list of any length as printDocument does, one item after the other.
type listPrinter struct {
	w     io.Writer
	yaml  bool
	count int
}

// add prints the next item, a JSON document.
func (p *listPrinter) add(doc []byte) error {
	p.count++
	if p.yaml { // lists that follow one another are one
		one := append(append([]byte{'['}, doc...), ']')
		return (&cli{output: "yaml"}).printDocument(p.w, one)
	}
	var b bytes.Buffer
	if p.count == 1 {
		b.WriteString("[\n  ")
	} else {
		b.WriteString(",\n  ")
	}
	if err := json.Indent(&b, doc, "  ", "  "); err != nil {
		return fmt.Errorf("printing as JSON: %w", err)
	}
	_, err := p.w.Write(b.Bytes())
	return err
}

// end ends the list.
func (p *listPrinter) end() error {
	text := "\n]\n"
	if p.count == 0 {
		text = "[]\n"
	} else if p.yaml {
		text = ""
	}
	_, err := io.WriteString(p.w, text)
	return err
}

// plain drops JSON's style from a node, except for the quotes of texts that need them.
func plain(n *yaml.Node) {
	n.Style = 0
	if n.Kind == yaml.ScalarNode && n.Tag == "!!str" && strings.Contains(n.Value, "\n") {
		n.Style = yaml.LiteralStyle
	}
	for _, c := range n.Content {
		plain(c)
	}
}

func parse(doc json.RawMessage) any {
	dec := json.NewDecoder(bytes.NewReader(doc))
	dec.UseNumber()
	var v any
	if err := dec.Decode(&v); err != nil {
		return nil // shows as empty cells; -o json tells what came
	}
	return v
}

// field is the text of a field for a cell.
func field(v any, path string) string {
	for name := range strings.SplitSeq(path, ".") {
		m, ok := v.(map[string]any)
		if !ok {
			return ""
		}
		v = m[name]
	}
	return cell(v)
}

func cell(v any) string {
	switch v := v.(type) {
	case nil:
		return ""
	case string:
		return v
	case []any:
		var texts []string
		for _, e := range v {
			if m, ok := e.(map[string]any); ok {
				e = firstOf(m, "name", "username", "key")
			}
			if s, ok := e.(string); ok {
				texts = append(texts, s)
			}
		}
		if len(texts) == len(v) {
			return strings.Join(texts, ",")
		}
		return fmt.Sprintf("%d items", len(v))
	}
	b, err := json.Marshal(v)
	if err != nil {
		return fmt.Sprint(v)
	}
	return string(b)
}

func firstOf(m map[string]any, names ...string) any {
	for _, n := range names {
		if v, ok := m[n]; ok {
			return v
		}
	}
	return nil
}

// oneLine makes a text safe for a cell: no line ends, tabs or control characters, which a name from
// somebody else could use to draw on the terminal.
func oneLine(s string) string {
	return strings.Map(func(r rune) rune {
		if r < ' ' || r >= 0x7f && r < 0xa0 {
			return ' '
		}
		return r
	}, s)
}
