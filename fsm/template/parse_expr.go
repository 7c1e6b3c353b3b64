package template

import "strings"

// exprParser reads one tag's or interpolation's tokens. It panics with *Error.
type exprParser struct {
	p      *parser
	toks   []token
	i      int
	depth  int
	tight  bool // any blank ends it: the name in <@name (a)>
	narrow bool // a blank after ! ends it: positional arguments of <@call a! b>
	shell  bool // an interpolation with the usual marks: say so when it looks like a shell's
}

func (e *exprParser) peek() *token { return &e.toks[e.i] }

func (e *exprParser) take() *token {
	t := &e.toks[e.i]
	if e.i < len(e.toks)-1 {
		e.i++
	}
	return t
}

func (e *exprParser) failAt(at int, format string, args ...any) {
	err := e.p.src.errorAt(at, ParsePhase, Syntax, format, args...)
	if e.shell {
		err.Message += "; if this is a shell's ${...}, put it in <#noparse> or give the template other delimiters"
	}
	panic(err)
}

// unexpected fails at the next token.
func (e *exprParser) unexpected(want string) {
	t := e.peek()
	switch {
	case t.kind == tokError:
		err := *t.err
		if e.shell {
			err.Message += "; if this is a shell's ${...}, put it in <#noparse> or give the template other delimiters"
		}
		panic(&err)
	case t.kind == tokEnd:
		e.failAt(t.start, "%s is missing here", want)
	}
	e.failAt(t.start, "unexpected %q, where %s was expected", strings.ToValidUTF8(e.p.src.snippet(t.start, t.end), "?"), want)
}

func (e *exprParser) isOp(op string) bool {
	t := e.peek()
	return t.kind == tokOp && t.text == op
}

func (e *exprParser) accept(op string) bool {
	if e.isOp(op) {
		e.take()
		return true
	}
	return false
}

func (e *exprParser) expect(op string) {
	if !e.accept(op) {
		e.unexpected("\"" + op + "\"")
	}
}

func (e *exprParser) isWord(w string) bool {
	t := e.peek()
	return t.kind == tokName && !t.quoted && t.text == w
}

func (e *exprParser) atEnd() bool { return e.peek().kind == tokEnd }

// end requires that nothing follows.
func (e *exprParser) end() {
	if !e.atEnd() {
		e.unexpected("the end")
	}
}

func reserved(w string) bool {
	switch w {
	case "true", "false", "gt", "gte", "lt", "lte", "as", "in", "using":
		return true
	}
	return false
}

// name takes a plain name.
func (e *exprParser) name(what string) string {
	t := e.peek()
	if t.kind != tokName || !t.quoted && reserved(t.text) {
		e.unexpected(what)
	}
	return e.take().text
}

// binaryOp gives the operator that comes next, "" when none may.
func (e *exprParser) binaryOp() string {
	t := e.peek()
	if t.kind == tokOp {
		return t.text
	}
	if t.kind == tokName && !t.quoted {
		if op := normalise(t.text); op != t.text {
			return op
		}
	}
	return ""
}

func (e *exprParser) enter() {
	e.depth++
	if e.depth > maxNesting {
		panic(e.p.src.errorAt(e.peek().start, ParsePhase, Limit, "expressions nest deeper than %d", maxNesting))
	}
}

// expression reads a whole expression.
func (e *exprParser) expression() expr {
	e.enter()
	defer func() { e.depth-- }()
	return e.level(0)
}

// levelOps are the operators of a level of precedence, loosest first.
func levelOps(level int) string {
	return [...]string{" || ", " && ", " == = != ", " < <= > >= ", " .. ..< ..* ", " + - ", " * / % "}[level]
}

const (
	levelEqual   = 2
	levelCompare = 3
	levelRange   = 4
	levelUnary   = 7
)

func (e *exprParser) level(n int) expr {
	if n == levelUnary {
		return e.unary()
	}
	a := e.level(n + 1)
	for {
		op := e.binaryOp()
		if op == "" || !strings.Contains(levelOps(n), " "+op+" ") {
			return a
		}
		e.take()
		if n == levelRange {
			return e.rangeRest(a, op)
		}
		e.p.count(e.peek().start)
		b := e.level(n + 1)
		e.operand(op, a)
		e.operand(op, b)
		a = &binaryExpr{place: e.from(a), op: op, a: a, b: b}
		if n == levelEqual || n == levelCompare {
			return a
		}
	}
}

// operand refuses literals that an operator can never take.
func (e *exprParser) operand(op string, x expr) {
	found := ""
	want := "a number"
	switch {
	case op == "+":
		return
	case op == "==" || op == "=" || op == "!=":
		want = "a text, number or boolean"
	case op == "&&" || op == "||":
		want = "a boolean"
	}
	switch l := x.(type) {
	case *listLiteral:
		found = "a list"
	case *objectLiteral:
		found = "an object"
	case *mixedText:
		found = "a text"
	case *literal:
		found = l.value.kindName()
	}
	if found != "" && !strings.Contains(want, strings.TrimPrefix(strings.TrimPrefix(found, "a "), "an ")) {
		start, _ := x.span()
		e.failAt(start, "%s needs %s, and here is %s", op, want, found)
	}
}

// from is the place from the start of a to the token just taken.
func (e *exprParser) from(a expr) place {
	start, _ := a.span()
	return place{start, e.lastEnd()}
}

func (e *exprParser) lastEnd() int {
	if e.i == 0 {
		return e.toks[0].start
	}
	return e.toks[e.i-1].end
}

func (e *exprParser) rangeRest(a expr, op string) expr {
	x := &rangeExpr{from: a, op: op}
	if op != ".." || e.startsExpression() {
		x.to = e.level(levelRange + 1)
		e.operand(op, x.to)
	}
	e.operand(op, a)
	x.place = e.from(a)
	return x
}

// startsExpression says that the next token may begin an expression.
func (e *exprParser) startsExpression() bool {
	t := e.peek()
	switch t.kind {
	case tokNumber, tokText, tokRaw:
		return true
	case tokName:
		return t.quoted || t.text == "true" || t.text == "false" || !reserved(t.text)
	case tokOp:
		return strings.Contains(" ( [ { ! - + . ", " "+t.text+" ")
	}
	return false
}

func (e *exprParser) unary() expr {
	t := e.peek()
	if t.kind == tokOp && (t.text == "!" || t.text == "-" || t.text == "+") {
		e.enter()
		defer func() { e.depth-- }()
		start := e.take().start
		of := e.unary()
		return &unaryExpr{place: place{start, e.lastEnd()}, op: t.text, of: of}
	}
	return e.postfix(e.primary())
}

func (e *exprParser) postfix(x expr) expr {
	for {
		t := e.peek()
		if t.kind != tokOp || e.tight && t.spaced {
			return x
		}
		switch t.text {
		case ".":
			e.take()
			n := e.peek()
			if n.kind != tokName {
				e.unexpected("a name")
			}
			e.take()
			x = &member{place: e.from(x), of: x, name: n.text}
		case "[":
			e.take()
			index := e.inner()
			e.expect("]")
			x = &indexExpr{place: e.from(x), of: x, index: index}
		case "(":
			e.take()
			args := e.args(false)
			x = &callExpr{place: e.from(x), fn: x, args: args}
			if of, ok := bracketed(x.(*callExpr).fn); ok && len(args) > 0 && len(args) <= of.spec.max {
				x = &builtinExpr{place: e.from(x), name: of.name, of: of.of, args: args, spec: of.spec}
			}
		case "?":
			x = e.builtin(x)
		case "??":
			e.take()
			x = &existsExpr{place: e.from(x), of: x}
		case "!":
			x = e.defaulted(x)
		default:
			return x
		}
		e.p.count(t.start)
	}
}

// inner reads an expression inside brackets, where blanks do not end it.
func (e *exprParser) inner() expr {
	narrow, tight := e.narrow, e.tight
	e.narrow, e.tight = false, false
	x := e.expression()
	e.narrow, e.tight = narrow, tight
	return x
}

// defaulted reads x! and x!other. The right side is greedy.
func (e *exprParser) defaulted(x expr) expr {
	e.take()
	d := &defaultExpr{of: x}
	next := e.peek()
	named := next.kind == tokName && e.i+1 < len(e.toks) && e.toks[e.i+1].kind == tokOp && e.toks[e.i+1].text == "="
	if e.startsExpression() && !named && !(e.narrow && next.spaced) {
		d.other = e.expression()
	}
	d.place = e.from(x)
	return d
}

// args reads arguments up to the closing bracket, which it takes.
func (e *exprParser) args(lambdas bool) []expr {
	narrow, tight := e.narrow, e.tight
	e.narrow, e.tight = false, false
	var args []expr
	for !e.accept(")") {
		if len(args) > 0 {
			e.accept(",")
		}
		if lambdas {
			args = append(args, e.lambdaOr())
		} else {
			args = append(args, e.expression())
		}
		if !e.isOp(")") && !e.isOp(",") && !e.startsExpression() {
			e.unexpected("\",\" or \")\"")
		}
	}
	e.narrow, e.tight = narrow, tight
	return args
}

// lambdaOr reads x -> body, (x) -> body, or an expression.
func (e *exprParser) lambdaOr() expr {
	j, parens := e.i, e.isOp("(")
	if parens {
		j++
	}
	arrow := j + 1
	if parens {
		arrow++
	}
	if arrow >= len(e.toks) || e.toks[j].kind != tokName || e.toks[arrow].kind != tokOp || e.toks[arrow].text != "->" {
		return e.expression()
	}
	start, name := e.peek().start, e.toks[j].text
	e.i = arrow + 1
	body := e.expression()
	return &lambda{place: place{start, e.lastEnd()}, name: name, body: body}
}

func (e *exprParser) builtin(of expr) expr {
	e.take()
	t := e.peek()
	if t.kind != tokName {
		e.unexpected("the name of a built-in")
	}
	e.take()
	spec, ok := findBuiltin(t.text)
	switch {
	case !ok:
		e.failAt(t.start, "unknown built-in ?%s", t.text)
	case spec.refused != "":
		panic(e.p.src.errorAt(t.start, ParsePhase, Unsupported, "the built-in ?%s is not supported here: %s", t.text, spec.refused))
	case spec.loop:
		n, isName := of.(*nameExpr)
		if !isName || !e.p.isLoopVariable(n.name) {
			e.failAt(t.start, "?%s is for the loop variable of a list only", t.text)
		}
	}
	b := &builtinExpr{of: of, name: t.text, spec: spec}
	next := e.peek()
	follows := next.kind == tokOp
	switch {
	case follows && next.text == "(" && spec.max > 0:
		e.take()
		b.args = e.args(spec.lambda)
		if len(b.args) < max(spec.min, 1) || len(b.args) > spec.max {
			e.failAt(t.start, "?%s does not take %d arguments", t.text, len(b.args))
		}
	case follows && spec.keyed && next.text == ".":
		e.take()
		n := e.peek()
		if n.kind != tokName {
			e.unexpected("the name of a format")
		}
		e.take()
		b.args, b.byKey = []expr{&literal{place{n.start, n.end}, Text(n.text)}}, true
	case follows && spec.keyed && next.text == "[":
		e.take()
		b.args, b.byKey = []expr{e.inner()}, true
		e.expect("]")
	case spec.min > 0:
		e.failAt(t.start, "?%s needs an argument in brackets", t.text)
	}
	b.place = e.from(of)
	return b
}

// bracketed is (x?string), which takes its arguments behind the bracket as well.
func bracketed(x expr) (*builtinExpr, bool) {
	in := x
	for p, ok := in.(*parenExpr); ok; p, ok = in.(*parenExpr) {
		in = p.of
	}
	b, ok := in.(*builtinExpr)
	return b, ok && in != x && b.name == "string" && len(b.args) == 0
}
