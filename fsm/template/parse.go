package template

import (
	"slices"
)

// parser turns pieces into nodes. It panics with *Error.
type parser struct {
	src       *source
	opts      Options
	pieces    []*piece
	i         int
	depth     int
	textDepth int
	size      int
	loops     []string // names of loop variables in sight, "" where a macro begins
	inList    int      // lists in sight
	inSwitch  int
	macro     *macroNode // the macro we are in
	macros    []*macroNode
	escapes   []escapeRule
	stripText bool
}

type escapeRule struct {
	name string
	body expr
}

// count limits the size of a template's tree.
func (p *parser) count(at int) {
	p.size++
	if p.size > maxNodes {
		panic(p.src.errorAt(at, ParsePhase, Limit, "the template has more than %d parts", maxNodes))
	}
}

func (p *parser) fail(at int, format string, args ...any) {
	panic(p.src.errorAt(at, ParsePhase, Syntax, format, args...))
}

func (p *parser) isLoopVariable(name string) bool {
	for i := len(p.loops) - 1; i >= 0; i-- {
		if p.loops[i] == name {
			return true
		}
	}
	return false
}

// exprs starts reading the tokens of a piece.
func (p *parser) exprs(x *piece) *exprParser { return &exprParser{p: p, toks: x.tokens} }

// bare requires that a tag has nothing after its name.
func (p *parser) bare(x *piece) {
	e := p.exprs(x)
	if !e.atEnd() {
		e.unexpected("the end of #" + x.name)
	}
}

// file reads the whole template.
func (p *parser) file() []node {
	body := p.block(nil)
	if p.i < len(p.pieces) {
		p.stray(p.pieces[p.i])
	}
	return body
}

// stray fails at a tag that fits nowhere.
func (p *parser) stray(x *piece) {
	switch {
	case x.kind == pieceClose:
		p.fail(x.start, "</#%s> closes nothing", x.name)
	case x.kind == pieceCallEnd:
		p.fail(x.start, "</@...> closes nothing")
	}
	p.fail(x.start, "#%s stands where it may not: it belongs %s", x.name, belongs(x.name))
}

func belongs(name string) string {
	switch name {
	case "else":
		return "into #if or #list, once and last"
	case "elseif":
		return "into #if, before #else"
	case "case", "default":
		return "directly into #switch"
	case "recover":
		return "into #attempt"
	}
	return "elsewhere"
}

// clause says that x ends a block without being its closing tag.
func clause(x *piece) bool {
	if x.kind != pieceOpen {
		return false
	}
	switch x.name {
	case "else", "elseif", "case", "default", "recover":
		return true
	}
	return false
}

// block reads nodes up to a closing tag or a clause, which it leaves. open is the tag the block belongs to.
func (p *parser) block(open *piece) []node {
	p.depth++
	if p.depth > maxNesting {
		panic(p.src.errorAt(open.start, ParsePhase, Limit, "tags nest deeper than %d", maxNesting))
	}
	defer func() { p.depth-- }()
	if open != nil && open.kind == pieceOpen {
		if end := open.tokens[len(open.tokens)-1]; end.text == "/>" {
			p.fail(end.start, "#%s needs a closing tag; it may not end with />", open.name)
		}
	}
	var out []node
	for p.i < len(p.pieces) {
		x := p.pieces[p.i]
		if x.kind == pieceClose || x.kind == pieceCallEnd || clause(x) {
			return out
		}
		p.i++
		p.count(x.start)
		if n := p.node(x); n != nil {
			out = append(out, n)
		}
	}
	if open != nil {
		p.unclosed(open)
	}
	return out
}

func (p *parser) unclosed(open *piece) {
	line, _ := p.src.position(open.start)
	p.fail(max(len(p.src.text)-1, 0), "the file ends, but the %s of line %d is not closed", tagName(open), line)
}

func tagName(x *piece) string {
	if x.kind == pieceCall {
		return "<@...>"
	}
	return "<#" + x.name + ">"
}

// close takes the closing tag of open.
func (p *parser) close(open *piece) {
	if p.i >= len(p.pieces) {
		p.unclosed(open)
	}
	x := p.pieces[p.i]
	if x.kind != pieceClose || x.name != open.name {
		if clause(x) {
			p.stray(x)
		}
		line, _ := p.src.position(open.start)
		p.fail(x.start, "</#%s> was expected here, as the <#%s> of line %d is still open", open.name, open.name, line)
	}
	p.i++
}

// at says that the next piece is the clause of that name.
func (p *parser) at(name string) bool {
	return p.i < len(p.pieces) && p.pieces[p.i].kind == pieceOpen && p.pieces[p.i].name == name
}

func (p *parser) node(x *piece) node {
	switch x.kind {
	case pieceText:
		if x.text == "" || p.stripText && p.depth == 1 && x.to == 0 {
			return nil
		}
		return &textNode{x.text, x.start}
	case pieceInterp:
		e := p.exprs(x)
		e.shell = !p.opts.custom()
		of := e.expression()
		e.end()
		return &interpNode{place: place{x.start, x.end}, of: p.escaped(of)}
	case pieceNumber:
		return p.numberInterp(x)
	case pieceCall:
		return p.call(x)
	case pieceComment:
		return nil
	case pieceBad:
		panic(x.tokens[0].err)
	}
	return p.directive(x)
}

func (p *parser) directive(x *piece) node {
	switch x.name {
	case "if":
		return p.ifTag(x)
	case "list", "foreach":
		return p.list(x)
	case "items":
		return p.items(x)
	case "sep":
		return p.sep(x)
	case "break", "continue":
		return p.jump(x)
	case "assign", "global", "local":
		return p.assign(x)
	case "switch":
		return p.switchTag(x)
	case "macro", "function":
		return p.define(x)
	case "nested":
		return p.nested(x)
	case "return":
		return p.returnTag(x)
	case "stop":
		return p.stop(x)
	case "setting":
		return p.setting(x)
	case "attempt":
		return p.attempt(x)
	case "escape", "noescape":
		return p.escape(x)
	case "compress":
		p.bare(x)
		n := &compressNode{body: p.block(x)}
		p.close(x)
		return n
	case "t", "lt", "rt", "nt", "flush":
		p.bare(x)
		return nil
	case "ftl":
		p.fail(x.start, "#ftl must be the first thing in the file")
	}
	p.fail(x.start, "#%s is not built", x.name)
	return nil
}

func (p *parser) ifTag(x *piece) node {
	n := &ifNode{}
	test := func(tag *piece) {
		e := p.exprs(tag)
		t := e.expression()
		e.end()
		n.arms = append(n.arms, ifArm{t, p.block(x)})
	}
	test(x)
	for p.at("elseif") {
		p.i++
		test(p.pieces[p.i-1])
	}
	if p.at("else") {
		p.bare(p.pieces[p.i])
		p.i++
		n.other = p.block(x)
	}
	p.close(x)
	return n
}

func (p *parser) list(x *piece) node {
	e := p.exprs(x)
	n := &listNode{}
	if x.name == "foreach" {
		n.vars.first = e.name("a name")
		if !e.isWord("in") {
			e.unexpected("\"in\"")
		}
		e.take()
		n.of = e.expression()
	} else {
		n.of = e.expression()
		if e.isWord("as") {
			n.vars = e.loopNames()
		}
	}
	e.end()
	n.place = place{x.start, x.end}
	p.inList++
	n.body = p.withVars(x, n.vars)
	p.inList--
	if p.at("else") {
		p.bare(p.pieces[p.i])
		p.i++
		n.other = p.block(x)
	}
	p.close(x)
	return n
}

// loopNames reads `as a` or `as k, v`.
func (e *exprParser) loopNames() loopVars {
	e.take()
	v := loopVars{first: e.name("a name")}
	if e.accept(",") {
		at := e.peek().start
		if v.second = e.name("a name"); v.second == v.first {
			e.failAt(at, "the two names of a loop must differ")
		}
	}
	return v
}

// withVars reads a block in which the loop variables are known; a frame of #items has none ("#" marks it).
func (p *parser) withVars(x *piece, v loopVars) []node {
	mark := len(p.loops)
	if v.first == "" {
		p.loops = append(p.loops, "#items")
	} else {
		p.loops = append(p.loops, v.first)
		if v.second != "" {
			p.loops = append(p.loops, v.second)
		}
	}
	body := p.block(x)
	p.loops = p.loops[:mark]
	return body
}

func (p *parser) items(x *piece) node {
	if len(p.loops) == 0 || p.loops[len(p.loops)-1] != "#items" {
		p.fail(x.start, "#items belongs into a #list without \"as\"")
	}
	e := p.exprs(x)
	if !e.isWord("as") {
		e.unexpected("\"as\"")
	}
	n := &itemsNode{vars: e.loopNames()}
	e.end()
	n.place = place{x.start, x.end}
	n.body = p.withVars(x, n.vars)
	p.close(x)
	return n
}

func (p *parser) sep(x *piece) node {
	if len(p.loops) == 0 || p.loops[len(p.loops)-1] == "#items" || p.loops[len(p.loops)-1] == "" {
		p.fail(x.start, "#sep belongs into a #list or #items with a loop variable")
	}
	p.bare(x)
	n := &sepNode{body: p.block(x)}
	if p.i < len(p.pieces) && p.pieces[p.i].kind == pieceClose && p.pieces[p.i].name == "sep" {
		p.i++
	}
	return n
}

func (p *parser) jump(x *piece) node {
	p.bare(x)
	if x.name == "continue" {
		if p.inList == 0 {
			p.fail(x.start, "#continue belongs into a #list")
		}
		return continueNode{}
	}
	if p.inList == 0 && p.inSwitch == 0 {
		p.fail(x.start, "#break belongs into a #list or #switch")
	}
	return breakNode{}
}

// isolated reads a macro's body: loops and switches outside it are out of reach.
func (p *parser) isolated(m *macroNode, x *piece) []node {
	inList, inSwitch, outer, escapes := p.inList, p.inSwitch, p.macro, p.escapes
	p.inList, p.inSwitch, p.macro = 0, 0, m
	loops := p.loops
	p.loops = slices.Clone([]string{""})
	body := p.block(x)
	p.loops, p.inList, p.inSwitch, p.macro, p.escapes = loops, inList, inSwitch, outer, escapes
	return body
}
