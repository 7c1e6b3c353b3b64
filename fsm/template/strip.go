package template

import (
	"strings"
	"unicode"
)

// maxStripSteps bounds the walks along lines: with trimming tags each run of a line may look at all others of it.
const maxStripSteps = 20_000_000

// stripper removes the white space around tags, in the order and with the checks of the reference: the rules are in
// DESIGN.md.
type stripper struct {
	src   *source
	on    bool // without, only what <#t> and its kin ask for is done
	trims bool // the file has a <#t> or one of its kin
	steps int
}

// strip drops white space of the text pieces. It panics with *Error when a line holds too much.
func strip(src *source, pieces []*piece, on, stripText bool) {
	b := &outliner{lines: linesOf(src.text), pieces: pieces, stripText: stripText}
	root := b.file()
	if root == nil {
		return // the parser will say what is wrong
	}
	s := &stripper{src: src, on: on, trims: b.trims}
	s.clean(root)
}

// clean strips what e holds, and gives what stands in its place.
func (s *stripper) clean(e *element) *element {
	switch {
	case e.kind == elText:
		s.run(e)
		return e
	case e.kind == elIf && len(e.children) == 1:
		only := e.children[0]
		only.end = e.end
		return s.clean(only)
	}
	for i, c := range e.children {
		c = s.clean(c)
		c.parent, c.index = e, i
		e.children[i] = c
	}
	kept := e.children[:0]
	for i, c := range e.children {
		var before, after *element
		if len(kept) > 0 {
			before = kept[len(kept)-1]
		}
		if i+1 < len(e.children) {
			after = e.children[i+1]
		}
		if !c.ignorable(s.on, before, after) {
			c.index = len(kept)
			kept = append(kept, c)
		} else if c.kind == elText {
			c.piece.text = ""
		}
	}
	e.children = kept
	if e.kind == elMixed && len(kept) == 1 {
		return kept[0]
	}
	return e
}

// run strips one run of text.
func (s *stripper) run(e *element) {
	p := e.piece
	if p.text == "" {
		return
	}
	left, right := s.trimLeftOf(e), s.trimRightOf(e)
	if !s.on || p.text == "" || e.atTop() && e.sibling(-1) == nil {
		return
	}
	head, tail := 0, 0
	if !left {
		tail = s.tailToStrip(e)
	}
	if !right {
		head = s.headToStrip(e)
	}
	if head+tail > len(p.text) {
		tail = len(p.text) - head
	}
	p.text = p.text[head : len(p.text)-tail]
	if head > 0 {
		e.begin++
		e.col1 = true
	}
}

func allBlank(s string) bool {
	for i := 0; i < len(s); i++ {
		if s[i] > ' ' {
			return false
		}
	}
	return true
}

// firstBreak is the offset behind the first line break, 0 when there is none.
func firstBreak(s string) int {
	i := strings.IndexAny(s, "\r\n")
	if i < 0 {
		return 0
	}
	if s[i] == '\r' && i+1 < len(s) && s[i+1] == '\n' {
		i++
	}
	return i + 1
}

// lastBreak is the offset behind the last line break, 0 when there is none.
func lastBreak(s string) int { return strings.LastIndexAny(s, "\r\n") + 1 }

func (s *stripper) headToStrip(e *element) int {
	text := e.piece.text
	n := firstBreak(text)
	if n == 0 && !e.col1 || !allBlank(text[:n]) {
		return 0
	}
	for x := e.leafBefore(); x != nil && x.end == e.begin; x = x.leafBefore() {
		s.step(e)
		if x.heeds(false) {
			return 0
		}
	}
	return n
}

func (s *stripper) tailToStrip(e *element) int {
	text := e.piece.text
	n := lastBreak(text)
	if n == 0 && !e.col1 || !allBlank(text[n:]) {
		return 0
	}
	for x := e.leafAfter(); x != nil && x.begin == e.end; x = x.leafAfter() {
		s.step(e)
		if x.heeds(true) {
			return 0
		}
	}
	return len(text) - n
}

func (s *stripper) step(e *element) {
	if s.steps++; s.steps > maxStripSteps {
		panic(s.src.errorAt(e.piece.start, ParsePhase, Limit, "the line holds too many tags beside one that trims it; break it up"))
	}
}

// heeds says that e keeps the white space before it (or behind it, when it stands before).
func (e *element) heeds(before bool) bool {
	if e.kind == elOutput {
		return true
	}
	if e.kind != elText || e.ignorable(true, e.sibling(-1), e.sibling(1)) {
		return false
	}
	text := e.piece.text
	if before {
		n := strings.IndexAny(text, "\r\n")
		if n < 0 {
			return true
		}
		text = text[:n]
	} else {
		n := lastBreak(text)
		if n == 0 {
			return true
		}
		text = text[n:]
	}
	return strings.ContainsFunc(text, func(c rune) bool { return !javaSpace(c) })
}

// ignorable says that e is left out of the tree, given its neighbours.
func (e *element) ignorable(on bool, before, after *element) bool {
	switch e.kind {
	case elTrim:
		return true
	case elMixed, elCompress:
		return len(e.children) == 0
	case elText:
		if e.piece.text == "" {
			return true
		}
		return on && allBlank(e.piece.text) && (before == nil && e.atTop() || before.silent()) && (after == nil && e.atTop() || after.silent())
	}
	return false
}

// silent says that e is a definition or a comment: blanks between two of them go whole.
func (e *element) silent() bool {
	if e == nil {
		return false
	}
	switch e.kind {
	case elDefinition, elAssign, elSetting, elComment:
		return true
	}
	return false
}

// javaSpace is Java's Character.isWhitespace.
func javaSpace(c rune) bool {
	switch c {
	case 0xA0, 0x2007, 0x202F, 0x85:
		return false
	}
	return unicode.IsSpace(c) || c >= 0x1C && c <= 0x1F
}

func javaSpaceOrControl(c rune) bool { return c <= ' ' || javaSpace(c) }

// trimLeftOf looks for a trimming tag after a run on its last line, and trims the left of that line.
func (s *stripper) trimLeftOf(e *element) (found bool) {
	if !s.trims {
		return false
	}
	p := e.piece
	for x := e.leafAfter(); x != nil && x.begin == e.end; x = x.leafAfter() {
		s.step(e)
		if x.kind != elTrim || x.right && !x.left {
			continue
		}
		found = true
		if n := lastBreak(p.text); x.left && (n > 0 || e.col1) {
			last := p.text[n:]
			if allBlank(last) {
				last = ""
			}
			p.text = p.text[:n] + strings.TrimLeftFunc(last, javaSpace)
		}
	}
	return found
}

// trimRightOf looks for a trimming tag before a run on its first line, and trims the right of that line.
func (s *stripper) trimRightOf(e *element) (found bool) {
	if !s.trims {
		return false
	}
	p := e.piece
	for x := e.leafBefore(); x != nil && x.end == e.begin; x = x.leafBefore() {
		s.step(e)
		if x.kind != elTrim || x.left && !x.right {
			continue
		}
		found = true
		if !x.right {
			continue
		}
		n := firstBreak(p.text)
		if n == 0 {
			return false
		}
		first, rest := p.text[:n], p.text[n:]
		if allBlank(first) {
			p.text = rest
			e.begin++ // the run is on another line now
			e.col1 = true
			continue
		}
		if allBlank(rest) && s.restGoes(e) {
			rest = ""
		}
		p.text = strings.TrimRightFunc(first, javaSpace) + rest
	}
	return found
}

// restGoes says that what follows the trimmed line may go too, as it is the indentation of tags.
func (s *stripper) restGoes(e *element) bool {
	goes := true
	for x := e.leafAfter(); x != nil && x.begin == e.end; x = x.leafAfter() {
		s.step(e)
		if x.heeds(false) {
			goes = false
		}
		if x.kind == elTrim && x.left {
			return true
		}
	}
	return goes
}
