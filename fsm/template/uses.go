package template

import "strings"

// Uses tells which variables of the data the template may read.
type Uses struct {
	// Names are the variables that it names, whether or not a rendering comes by there.
	Names map[string]bool
	// Any says that it may read variables that it does not name: with ?eval, ?interpret, or by going through .vars.
	Any bool
}

// Reads says whether the template may read a variable.
func (u Uses) Reads(name string) bool { return u.Any || u.Names[name] }

// Uses tells which variables of the data the template may read, from its text alone. What a loop, a macro or a lambda names
// itself does not count there (an item that is null would show the variable of the same name: that is left out); what #assign
// makes does, since it may be missing where it is read.
func (t *Template) Uses() Uses {
	w := &useWalk{uses: Uses{Names: map[string]bool{}}, bound: map[string]int{}}
	for _, m := range t.macros {
		w.bound[m.name]++ // known in the whole file
	}
	w.nodes(t.body)
	return w.uses
}

// useWalk walks a template for the variables that it reads.
type useWalk struct {
	uses  Uses
	bound map[string]int // names that hide variables of the data here, with how often
}

// with walks where names are bound; empty ones are none.
func (w *useWalk) with(names []string, walk func()) {
	for _, n := range names {
		w.bound[n]++
	}
	walk()
	for _, n := range names {
		w.bound[n]--
	}
}

func (w *useWalk) name(n string) {
	if w.bound[n] == 0 {
		w.uses.Names[n] = true
	}
}

func (w *useWalk) nodes(list []node) {
	for _, n := range list {
		w.node(n)
	}
}

// names of a loop, with those that the engine adds.
func (v loopVars) names() []string {
	if v.first == "" {
		return nil
	}
	return []string{v.first, v.first + "_index", v.first + "_has_next", v.second}
}

func (w *useWalk) node(n node) {
	switch n := n.(type) {
	case nodes:
		w.nodes(n)
	case *interpNode:
		w.expr(n.of)
	case *ifNode:
		for _, arm := range n.arms {
			w.expr(arm.test)
			w.nodes(arm.body)
		}
		w.nodes(n.other)
	case *listNode:
		w.expr(n.of)
		w.with(n.vars.names(), func() { w.nodes(n.body) })
		w.nodes(n.other)
	case *itemsNode:
		w.with(n.vars.names(), func() { w.nodes(n.body) })
	case *sepNode:
		w.nodes(n.body)
	case *assignNode:
		if n.op != "=" {
			w.name(n.name) // what it was counts
		}
		w.expr(n.value)
	case *captureNode:
		w.nodes(n.body)
	case *switchNode:
		w.expr(n.of)
		for _, c := range n.cases {
			w.expr(c.value)
			w.nodes(c.body)
		}
	case *macroNode:
		w.macro(n)
	case *callNode:
		w.call(n)
	case *nestedNode:
		w.exprs(n.args)
	case *returnNode:
		w.expr(n.value)
	case *stopNode:
		w.expr(n.text)
	case *settingNode:
		w.expr(n.value)
	case *attemptNode:
		w.nodes(n.body)
		w.nodes(n.recover)
	case *compressNode:
		w.nodes(n.body)
	}
}

func (w *useWalk) macro(n *macroNode) {
	names := []string{n.rest}
	for _, p := range n.params {
		names = append(names, p.name)
	}
	for _, p := range n.params {
		w.expr(p.fallback) // may be asked before another parameter has its value
	}
	w.with(names, func() { w.nodes(n.body) })
}

func (w *useWalk) call(n *callNode) {
	w.expr(n.macro)
	w.exprs(n.args)
	for _, a := range n.named {
		w.expr(a.value)
	}
	w.nodes(n.body) // a parameter of it that got no value lets what is around it be seen
}

func (w *useWalk) exprs(list []expr) {
	for _, x := range list {
		w.expr(x)
	}
}

func (w *useWalk) expr(x expr) {
	switch x := x.(type) {
	case *mixedText:
		w.exprs(x.parts)
	case *listLiteral:
		w.exprs(x.items)
	case *objectLiteral:
		w.exprs(x.keys)
		w.exprs(x.values)
	case *rangeExpr:
		w.expr(x.from)
		w.expr(x.to)
	case *nameExpr:
		w.name(x.name)
	case *special:
		w.uses.Any = w.uses.Any || x.holdsData()
	case *member:
		w.part(x.of, x.name, true)
	case *indexExpr:
		lit, ok := x.index.(*literal)
		if ok = ok && lit.value.isText(); ok {
			w.part(x.of, lit.value.text, true)
			return
		}
		w.part(x.of, "", false)
		w.expr(x.index)
	case *callExpr:
		w.expr(x.fn)
		w.exprs(x.args)
	case *builtinExpr:
		w.uses.Any = w.uses.Any || x.name == "eval" || x.name == "interpret"
		w.expr(x.of)
		w.exprs(x.args)
	case *defaultExpr:
		w.expr(x.of)
		w.expr(x.other)
	case *existsExpr:
		w.expr(x.of)
	case *unaryExpr:
		w.expr(x.of)
	case *binaryExpr:
		w.expr(x.a)
		w.expr(x.b)
	case *parenExpr:
		w.expr(x.of)
	case *lambda:
		w.with([]string{x.name}, func() { w.expr(x.body) })
	case *escapedExpr:
		w.expr(x.of)
		w.with([]string{x.name}, func() { w.expr(x.body) })
	}
}

// part is of.name; of .vars and its kin it names a variable, whatever is bound.
func (w *useWalk) part(of expr, name string, known bool) {
	if s, ok := of.(*special); ok && known && s.holdsData() {
		w.uses.Names[name] = true
		return
	}
	w.expr(of)
}

// holdsData says whether the variables of the data can be found in it.
func (x *special) holdsData() bool {
	switch x.name {
	case "data_model", "globals", "vars":
		return true
	}
	return false
}

// MayUse says, without parsing, whether a template could read one of the variables: cheap, and never wrong when it says no.
func MayUse(text string, names ...string) bool {
	for _, way := range []string{"eval", "interpret", "data_model", "globals", "vars", `\`} { // a name may be written with escapes
		if strings.Contains(text, way) {
			return true
		}
	}
	for _, n := range names {
		if strings.Contains(text, n) {
			return true
		}
	}
	return false
}
