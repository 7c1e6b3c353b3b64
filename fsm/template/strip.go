package template

import (
	"iter"
	"sort"
	"strings"
	"unicode"
)

// stripState is what white space stripping knows of a piece. Lines and columns are of the source and follow what
// was stripped: a run that lost its first line begins on the next one.
type stripState struct {
	beginLine int
	beginCol1 bool // begins in column 1; a tab stands in column 8
	endLine   int  // the line of its last character
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

// stripper removes the white space around tags, on runs, in the order and with the checks of the reference: the
// rules are in DESIGN.md.
type stripper struct {
	pieces []*piece
	mate   map[int]int // open and closing tags of macros, functions and captures
}

// opaque says that what a tag encloses does not count as standing on its line.
func opaque(p *piece) bool {
	switch p.name {
	case "macro", "function":
		return true
	case "assign", "global", "local":
		return p.kind == pieceClose || !p.assigns()
	}
	return false
}

// pair finds the mates.
func (s *stripper) pair() {
	s.mate = map[int]int{}
	var open []int
	for i, p := range s.pieces {
		switch {
		case p.kind == pieceOpen && opaque(p):
			open = append(open, i)
		case p.kind == pieceClose && opaque(p) && len(open) > 0:
			j := open[len(open)-1]
			open = open[:len(open)-1]
			s.mate[i], s.mate[j] = j, i
		}
	}
}

// after gives the pieces behind i that begin on its last line.
func (s *stripper) after(i int) iter.Seq[int] {
	return func(yield func(int) bool) {
		line := s.pieces[i].strip.endLine
		for j := i + 1; j < len(s.pieces) && s.pieces[j].strip.beginLine == line; j++ {
			if !yield(j) {
				return
			}
			if m, ok := s.mate[j]; ok && m > j {
				j = m
			}
		}
	}
}

// before gives the pieces before i that end on its first line, the nearest first.
func (s *stripper) before(i int) iter.Seq[int] {
	return func(yield func(int) bool) {
		line := s.pieces[i].strip.beginLine
		for j := i - 1; j >= 0 && s.pieces[j].strip.endLine == line; j-- {
			if !yield(j) {
				return
			}
			if m, ok := s.mate[j]; ok && m < j {
				j = m
			}
		}
	}
}

// strip drops white space of the text pieces; with on false only what <#t> and its kin ask for.
func strip(text string, pieces []*piece, on bool) {
	lines := linesOf(text)
	for _, p := range pieces {
		start, end := p.start, p.end
		if p.to > 0 {
			start, end = p.from, p.to
		}
		p.strip.beginLine = lines.line(start)
		p.strip.beginCol1 = lines[p.strip.beginLine-1] == start && (start < p.start || !strings.HasPrefix(p.text, "\t"))
		p.strip.endLine = lines.line(max(end-1, start))
	}
	dropBeforeCases(pieces)
	s := &stripper{pieces: pieces}
	s.pair()
	for i, p := range pieces {
		if p.kind == pieceText && p.text != "" {
			s.run(i, on)
		}
	}
	if on {
		s.dropBetweenDefinitions()
	}
}

// dropBeforeCases empties the blanks between <#switch> and its first case, which are never printed nor seen.
func dropBeforeCases(pieces []*piece) {
	before := false
	for _, p := range pieces {
		switch {
		case p.kind == pieceText && before && allBlank(p.text):
			p.text = ""
		case p.kind != pieceComment:
			before = p.kind == pieceOpen && p.name == "switch"
		}
	}
}

func (s *stripper) run(i int, on bool) {
	p := s.pieces[i]
	left := s.trimLeftOf(i)
	right := s.trimRightOf(i)
	if !on || p.text == "" || i == 0 {
		return
	}
	head, tail := 0, 0
	if !left {
		tail = s.tailToStrip(i)
	}
	if !right {
		head = s.headToStrip(i)
	}
	if head+tail > len(p.text) {
		tail = len(p.text) - head
	}
	p.text = p.text[head : len(p.text)-tail]
	if head > 0 {
		p.strip.beginLine++
		p.strip.beginCol1 = true
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

func (s *stripper) headToStrip(i int) int {
	p := s.pieces[i]
	n := firstBreak(p.text)
	if n == 0 && !p.strip.beginCol1 || !allBlank(p.text[:n]) {
		return 0
	}
	for j := range s.before(i) {
		if s.heeds(j, false) {
			return 0
		}
	}
	return n
}

func (s *stripper) tailToStrip(i int) int {
	p := s.pieces[i]
	n := lastBreak(p.text)
	if n == 0 && !p.strip.beginCol1 || !allBlank(p.text[n:]) {
		return 0
	}
	for j := range s.after(i) {
		if s.heeds(j, true) {
			return 0
		}
	}
	return len(p.text) - n
}

// heeds says that piece j keeps the white space before it (or behind it, when it stands before).
func (s *stripper) heeds(j int, before bool) bool {
	p := s.pieces[j]
	if p.kind == pieceInterp || p.kind == pieceNumber {
		return true
	}
	if p.kind != pieceText || p.text == "" || s.betweenDefinitions(j) {
		return false
	}
	text := p.text
	if before {
		if n := strings.IndexAny(text, "\r\n"); n >= 0 {
			text = text[:n]
		} else {
			return true
		}
	} else {
		if n := lastBreak(text); n > 0 {
			text = text[n:]
		} else {
			return true
		}
	}
	return strings.ContainsFunc(text, func(c rune) bool { return !javaSpace(c) })
}

// javaSpace is Java's Character.isWhitespace.
func javaSpace(c rune) bool {
	switch c {
	case 0xA0, 0x2007, 0x202F, 0x85:
		return false
	}
	return unicode.IsSpace(c) || c >= 0x1C && c <= 0x1F
}

// definition says that piece p, seen from the text after it (or before it), is a definition or a comment.
func definition(p *piece, textAfter bool) bool {
	switch p.kind {
	case pieceComment:
		return true
	case pieceOpen:
		switch p.name {
		case "assign", "global", "local":
			return p.assigns()
		case "setting":
			return true
		case "macro", "function":
			return !textAfter
		}
	case pieceClose:
		return textAfter && (p.name == "macro" || p.name == "function")
	}
	return false
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

// betweenDefinitions says that run i is blank and has a definition, or an end of the file, on both sides.
func (s *stripper) betweenDefinitions(i int) bool {
	if !allBlank(s.pieces[i].text) {
		return false
	}
	before := i == 0 || definition(s.pieces[i-1], true)
	return before && s.definitionAfter(i)
}

func (s *stripper) definitionAfter(i int) bool {
	return i == len(s.pieces)-1 || definition(s.pieces[i+1], false)
}

// dropBetweenDefinitions empties the blank runs between definitions. A file of nothing but blanks stays.
func (s *stripper) dropBetweenDefinitions() {
	if len(s.pieces) == 1 {
		return
	}
	var last *piece // the last one that stays; trimming tags are gone by now
	for i, p := range s.pieces {
		if p.kind == pieceText && allBlank(p.text) && (last == nil || definition(last, true)) && s.definitionAfter(i) {
			p.text = ""
		}
		if _, _, trims := trimTag(p); !trims && (p.kind != pieceText || p.text != "") {
			last = p
		}
	}
}

// trimTag gives which sides a <#t>, <#lt>, <#rt> or <#nt> trims.
func trimTag(p *piece) (left, right, is bool) {
	if p.kind != pieceOpen {
		return false, false, false
	}
	switch p.name {
	case "t":
		return true, true, true
	case "lt":
		return true, false, true
	case "rt":
		return false, true, true
	case "nt":
		return false, false, true
	}
	return false, false, false
}

// trimLeftOf looks for a trimming tag after run i on its last line, and trims the left of that line.
func (s *stripper) trimLeftOf(i int) (found bool) {
	p := s.pieces[i]
	for j := range s.after(i) {
		left, right, is := trimTag(s.pieces[j])
		if !is || right && !left {
			continue
		}
		found = true
		n := lastBreak(p.text)
		if left && (n > 0 || p.strip.beginCol1) {
			p.text = p.text[:n] + strings.TrimLeftFunc(p.text[n:], javaSpaceOrControl)
		}
	}
	return found
}

// trimRightOf looks for a trimming tag before run i on its first line, and trims the right of that line.
func (s *stripper) trimRightOf(i int) (found bool) {
	p := s.pieces[i]
	closed := 0 // blocks between j and i that were closed; their trimming tags have done their work
	for j := range s.before(i) {
		if _, jumped := s.mate[j]; !jumped { // the walk goes around what a definition encloses
			closed = closedBefore(s.pieces[j], closed)
		}
		left, right, is := trimTag(s.pieces[j])
		if !is || closed > 0 || left && !right {
			continue
		}
		if !right {
			found = true
			continue
		}
		n := firstBreak(p.text)
		if n == 0 {
			return false
		}
		found = true
		first, rest := p.text[:n], p.text[n:]
		if allBlank(first) {
			p.text = rest
			p.strip.beginLine++
			p.strip.beginCol1 = true
			return true // the run is on another line now
		}
		if allBlank(rest) && s.restGoes(i) {
			rest = ""
		}
		p.text = strings.TrimRightFunc(first, javaSpaceOrControl) + rest
	}
	return found
}

// closedBefore counts the blocks that end between a piece and a run behind it, walking backwards.
func closedBefore(p *piece, closed int) int {
	switch {
	case p.kind == pieceClose, p.kind == pieceCallEnd, clause(p) && closed == 0:
		return closed + 1
	case p.kind == pieceCall && p.tokens[len(p.tokens)-1].text != "/>", p.kind == pieceOpen && block(p):
		return max(closed-1, 0)
	}
	return closed
}

// block says that a tag has a closing tag of its own.
func block(p *piece) bool {
	switch p.name {
	case "if", "list", "foreach", "items", "switch", "attempt", "compress", "escape", "noescape":
		return true
	}
	return opaque(p)
}

// restGoes says that what follows the trimmed line may go too, as it is the indentation of tags.
func (s *stripper) restGoes(i int) bool {
	goes := true
	for j := range s.after(i) {
		if s.heeds(j, false) {
			goes = false
		}
		if left, _, _ := trimTag(s.pieces[j]); left {
			return true
		}
	}
	return goes
}

func javaSpaceOrControl(c rune) bool { return c <= ' ' || javaSpace(c) }
