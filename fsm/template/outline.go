package template

import "sort"

// elementKind is what white space stripping must know of a part of the file.
type elementKind int

const (
	elOther      elementKind = iota
	elText                   // a run of text
	elOutput                 // an interpolation
	elTrim                   // <#t>, <#lt>, <#rt>, <#nt>
	elComment                // also <#comment>
	elSetting                // <#setting>
	elAssign                 // <#assign x = 1> and its kin
	elCapture                // <#assign x>...</#assign> and its kin
	elDefinition             // <#macro>, <#function>
	elIf                     // holds a part for each branch
	elMixed                  // several parts in the place of one
	elCompress
)

// element is a part of the outline of a file, which is cut as the reference cuts its tree. Lines are of the source and
// follow what was stripped: a run that lost its first line begins on the next one.
type element struct {
	kind        elementKind
	piece       *piece // of a run
	parent      *element
	index       int // among the parent's children
	children    []*element
	begin, end  int  // lines
	col1        bool // a run that begins in column 1; a tab stands in column 8
	left, right bool // what a tag trims
}

// sibling is the element by places further, nil when there is none.
func (e *element) sibling(by int) *element {
	if e.parent == nil || e.index+by < 0 || e.index+by >= len(e.parent.children) {
		return nil
	}
	return e.parent.children[e.index+by]
}

// atTop says that e stands directly in the file.
func (e *element) atTop() bool {
	return e.parent == nil || e.parent.parent == nil && e.parent.kind == elMixed
}

// closed says that others see e as one thing, whatever it holds.
func (e *element) closed() bool {
	return len(e.children) == 0 || e.kind == elDefinition || e.kind == elCapture
}

// leafBefore is the last thing before e, nil at the start of the file.
func (e *element) leafBefore() *element {
	for ; e != nil; e = e.parent {
		if x := e.sibling(-1); x != nil {
			for !x.closed() {
				x = x.children[len(x.children)-1]
			}
			return x
		}
	}
	return nil
}

// leafAfter is the first thing behind e, nil at the end of the file.
func (e *element) leafAfter() *element {
	for ; e != nil; e = e.parent {
		if x := e.sibling(1); x != nil {
			for !x.closed() {
				x = x.children[0]
			}
			return x
		}
	}
	return nil
}

func (e *element) add(c *element) {
	c.parent, c.index = e, len(e.children)
	e.children = append(e.children, c)
}

// lineTable finds the line of an offset.
type lineTable []int

func linesOf(text string) lineTable {
	t := lineTable{0}
	for i := 0; i < len(text); i++ {
		if text[i] == '\n' || text[i] == '\r' && (i+1 >= len(text) || text[i+1] != '\n') {
			t = append(t, i+1)
		}
	}
	return t
}

func (t lineTable) line(at int) int { return sort.SearchInts(t, at+1) }

// outliner makes the outline of a file from its pieces. It checks only what it needs itself.
type outliner struct {
	lines     lineTable
	pieces    []*piece
	i         int
	depth     int
	bad       bool // the tags do not fit
	trims     bool
	stripText bool
	elements  arena[element]
}

// element gives room for one.
func (b *outliner) element(e element) *element {
	to := b.elements.next()
	*to = e
	return to
}

func (b *outliner) first(p *piece) int { return b.lines.line(p.start) }

func (b *outliner) last(p *piece) int { return b.lines.line(max(p.end-1, p.start)) }

// file gives the outline, nil when the tags do not fit.
func (b *outliner) file() *element {
	root := b.element(element{kind: elMixed})
	b.block(root)
	switch {
	case b.bad || b.i < len(b.pieces) || len(root.children) == 0:
		return nil
	case len(root.children) == 1:
		root.children[0].parent = nil
		return root.children[0]
	}
	return root
}

// block reads into e up to a closing tag or a clause, which it leaves, and gives the line of the last thing read, or other.
func (b *outliner) block(e *element, other ...int) int {
	if b.depth++; b.depth > maxNesting {
		b.bad = true
	}
	for ; b.i < len(b.pieces) && !b.bad; b.i++ {
		x := b.pieces[b.i]
		if x.kind == pieceClose || x.kind == pieceCallEnd || clause(x) {
			break
		}
		if x.kind == pieceOpen || x.kind == pieceCall {
			b.i++
			e.add(b.tag(x))
			b.i--
			continue
		}
		if c := b.leaf(x); c != nil {
			e.add(c)
		}
	}
	b.depth--
	if n := len(e.children); n > 0 {
		return e.children[n-1].end
	}
	return append(other, 0)[0]
}

// leaf is what is no tag.
func (b *outliner) leaf(x *piece) *element {
	e := b.element(element{begin: b.first(x), end: b.last(x)})
	switch x.kind {
	case pieceText:
		if b.stripText && b.depth == 1 && x.to == 0 {
			return nil
		}
		e.kind, e.piece = elText, x
		from := x.start
		if x.to > 0 { // the text of a <#noparse> stands where its tags do
			from = x.from
			e.begin, e.end = b.lines.line(from), b.lines.line(x.to-1)
		}
		e.col1 = b.lines[e.begin-1] == from && (x.to > 0 || x.text == "" || x.text[0] != '\t')
	case pieceInterp, pieceNumber:
		e.kind = elOutput
	case pieceComment:
		e.kind = elComment
	default:
		b.bad = true
	}
	return e
}

// end takes the closing tag and gives its line.
func (b *outliner) end(kind pieceKind, names ...string) int {
	if b.i >= len(b.pieces) || b.pieces[b.i].kind != kind {
		b.bad = true
		return 0
	}
	x := b.pieces[b.i]
	b.i++
	for _, n := range names {
		if x.name == n {
			return b.last(x)
		}
	}
	b.bad = b.bad || len(names) > 0
	return b.last(x)
}

// next takes the next piece when it is the clause of that name.
func (b *outliner) next(name string) *piece {
	if b.bad || b.i >= len(b.pieces) || b.pieces[b.i].kind != pieceOpen || b.pieces[b.i].name != name {
		return nil
	}
	b.i++
	return b.pieces[b.i-1]
}

// tag reads an opening tag with what belongs to it.
func (b *outliner) tag(x *piece) *element {
	e := b.element(element{begin: b.first(x), end: b.last(x)})
	if x.kind == pieceCall {
		if x.tokens[len(x.tokens)-1].text != "/>" {
			b.block(e)
			e.end = b.end(pieceCallEnd)
		}
		return e
	}
	switch x.name {
	case "t", "lt", "rt", "nt":
		e.kind, e.left, e.right, b.trims = elTrim, x.name == "t" || x.name == "lt", x.name == "t" || x.name == "rt", true
	case "setting":
		e.kind = elSetting
	case "macro", "function":
		e.kind = elDefinition
		b.closing(e, x)
	case "compress":
		e.kind = elCompress
		b.closing(e, x)
	case "foreach", "items", "escape", "noescape":
		b.closing(e, x)
	case "assign", "global", "local":
		b.assign(e, x)
	case "if":
		b.ifTag(e, x)
	case "list":
		return b.list(e, x)
	case "sep":
		e.end = b.block(e, e.end)
		if b.i < len(b.pieces) && b.pieces[b.i].kind == pieceClose && b.pieces[b.i].name == "sep" {
			e.end = b.end(pieceClose, "sep")
		}
	case "switch":
		b.switchTag(e, x)
	case "attempt":
		b.attempt(e)
	}
	return e
}

// closing reads a block with its closing tag.
func (b *outliner) closing(e *element, x *piece) {
	b.block(e)
	e.end = b.end(pieceClose, x.name)
}

// part reads what follows a clause into a part of e of its own, which begins on a line.
func (b *outliner) part(e *element, begin, end int) {
	p := b.element(element{begin: begin})
	p.end = b.block(p, end)
	e.add(p)
}

func (b *outliner) ifTag(e *element, x *piece) {
	e.kind = elIf
	b.part(e, e.begin, e.end)
	for c := b.next("elseif"); c != nil; c = b.next("elseif") {
		b.part(e, b.first(c), b.last(c))
	}
	if c := b.next("else"); c != nil {
		b.part(e, b.first(c), b.last(c))
	}
	e.end = b.end(pieceClose, x.name)
}

func (b *outliner) list(e *element, x *piece) *element {
	b.block(e)
	c := b.next("else")
	if c == nil {
		e.end = b.end(pieceClose, x.name)
		return e
	}
	both := b.element(element{begin: e.begin})
	both.add(e)
	b.part(both, b.first(c), b.last(c))
	both.end = b.end(pieceClose, x.name)
	e.end = both.end
	return both
}

func (b *outliner) switchTag(e *element, x *piece) {
	b.block(e)
	if len(e.children) == 1 && e.children[0].kind == elText {
		e.children[0].piece.text = "" // blanks before the first case are never printed nor seen
		e.children = nil
	}
	for {
		c := b.next("case")
		if c == nil {
			c = b.next("default")
		}
		if c == nil {
			break
		}
		end := b.last(c)
		if c.name == "case" {
			end = b.first(c)
		}
		b.part(e, b.first(c), end)
	}
	e.end = b.end(pieceClose, x.name)
}

func (b *outliner) attempt(e *element) {
	mixed := b.element(element{kind: elMixed})
	mixed.end = b.block(mixed)
	switch len(mixed.children) {
	case 0:
		e.add(b.element(element{kind: elText, piece: &piece{}}))
	case 1:
		e.add(mixed.children[0])
	default:
		mixed.begin = mixed.children[0].begin
		e.add(mixed)
	}
	c := b.next("recover")
	if c == nil {
		b.bad = true
		return
	}
	b.part(e, b.first(c), b.last(c))
	e.end = b.end(pieceClose, "recover", "attempt")
}

// assign is <#assign x = 1>, <#assign x = 1, y = 2> or <#assign x>...</#assign>.
func (b *outliner) assign(e *element, x *piece) {
	if !x.assigns() {
		e.kind = elCapture
		b.closing(e, x)
		return
	}
	e.kind = elAssign
	depth, from := 0, 0
	add := func(to int) {
		if from < to {
			e.add(b.element(element{begin: b.lines.line(x.tokens[from].start), end: b.lines.line(max(x.tokens[to-1].end-1, 0))}))
		}
	}
	for i, t := range x.tokens {
		switch {
		case t.kind != tokOp:
		case t.text == "(" || t.text == "[" || t.text == "{":
			depth++
		case t.text == ")" || t.text == "]" || t.text == "}":
			depth--
		case t.text == "," && depth == 0:
			add(i)
			from = i + 1
		}
	}
	add(len(x.tokens) - 1)
	if len(e.children) == 1 {
		e.children = nil
	}
}

// assigns says that the tag is <#assign x = ...>, not <#assign x>...</#assign>.
func (p *piece) assigns() bool {
	for _, t := range p.tokens {
		if t.kind == tokOp {
			switch t.text {
			case "=", "+=", "-=", "*=", "/=", "%=", "++", "--":
				return true
			}
		}
	}
	return false
}
