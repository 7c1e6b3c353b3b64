package template

import (
	"context"
	"strings"
)

// renderer is the state of one rendering. It panics with *Error.
type renderer struct {
	ctx     context.Context
	limits  Limits
	t       *Template
	data    *Value
	main    *Object // what #assign made, and the macros
	globals *Object
	scope   *scope
	frame   *frame
	out     *strings.Builder
	written int // bytes of all outputs, captured ones too
	work    int
	steps   int
	calls   int
	depth   int
	format  formats
	result  *Value // of #return
	failed  string // .error
}

// formats is what #setting changes.
type formats struct {
	number   string
	yes, no  string // boolean_format; both empty: none
	encoding string // of ?url
}

// scope is a variable that is in sight, and those around it.
type scope struct {
	parent *scope
	name   string
	value  *Value
	loop   *loop
	solid  bool // hides what is around it also when it is missing
	lazy   expr // the variable of an #escape: evaluated where it stands
	frame  *frame
}

// loop is where a #list is.
type loop struct {
	of    *Value
	expr  expr     // that gave it
	keys  []string // when an object is walked
	vars  loopVars
	index int64
	size  int64
}

func (l *loop) last() bool { return l.index+1 >= l.size }

// frame is a call of a macro or function.
type frame struct {
	macro  *macroNode
	locals *Object
	call   *callNode // with the nested content; nil for a function
	scope  *scope    // of the caller
	caller *frame
}

func newRenderer(ctx context.Context, t *Template, data *Value) *renderer {
	r := &renderer{ctx: ctx, limits: t.limits, t: t, data: data, main: NewObject(), globals: NewObject(), out: &strings.Builder{}}
	for _, m := range t.macros {
		r.main.Set(m.name, &Value{kind: kindMacro, more: m})
	}
	return r
}

// lookup finds a variable, nil when there is none.
func (r *renderer) lookup(name string) *Value {
	for s := r.scope; s != nil; s = s.parent {
		switch {
		case s.frame != nil:
			if v := s.frame.locals.get(name); v != nil {
				return v
			}
		case s.name == name && s.lazy != nil:
			return r.within(s.parent, s.lazy)
		case s.name == name && (s.value != nil || s.solid):
			return s.value
		case s.name == name: // what is missing lets what is around it be seen
		case s.loop != nil && name == s.loop.vars.first+"_index":
			return Int(s.loop.index)
		case s.loop != nil && name == s.loop.vars.first+"_has_next":
			return Bool(!s.loop.last())
		}
	}
	for _, o := range []*Object{r.main, r.globals, r.data.obj} {
		if v := o.get(name); v != nil {
			return v
		}
	}
	return nil
}

// within evaluates x in another scope.
func (r *renderer) within(s *scope, x expr) *Value {
	before := r.scope
	r.scope = s
	v := r.eval(x)
	r.scope = before
	return v
}

// loopOf finds the loop that a loop variable belongs to.
func (r *renderer) loopOf(name string) *loop {
	for s := r.scope; s != nil; s = s.parent {
		if s.name == name && s.loop != nil {
			return s.loop
		}
	}
	return nil
}

// innerLoop is the loop that #sep and #items belong to.
func (r *renderer) innerLoop() *loop {
	for s := r.scope; s != nil; s = s.parent {
		if s.loop != nil {
			return s.loop
		}
	}
	return nil
}

func (r *renderer) push(name string, v *Value) {
	r.scope = &scope{parent: r.scope, name: name, value: v}
}

// blamed is x, or what stands for it when x is the variable of an #escape.
func (r *renderer) blamed(x expr) expr {
	n, ok := x.(*nameExpr)
	if !ok {
		return x
	}
	for s := r.scope; s != nil && s.frame == nil; s = s.parent {
		if s.name == n.name && s.lazy == nil {
			return x
		}
		if s.name == n.name {
			return s.lazy
		}
	}
	return x
}

// fail ends the rendering with an error at x.
func (r *renderer) fail(x expr, kind Kind, format string, args ...any) {
	start, _ := r.blamed(x).span()
	r.failAt(start, kind, format, args...)
}

func (r *renderer) failAt(at int, kind Kind, format string, args ...any) {
	panic(r.t.src.errorAt(at, RenderPhase, kind, format, args...))
}

// code is x as the template writes it.
func (r *renderer) code(x expr) string {
	x = r.blamed(x)
	start, end := x.span()
	if s := r.t.src.snippet(start, end); s != "" {
		return s
	}
	if n, ok := x.(*nameExpr); ok {
		return n.name
	}
	return "this expression"
}

// missing fails with the text that authors meet most.
func (r *renderer) missing(x expr) {
	x = r.blamed(x)
	switch inner := x.(type) {
	case *parenExpr:
		r.missing(inner.of)
	case *escapedExpr:
		r.missing(inner.body)
	}
	code := r.code(x)
	start, _ := x.span()
	simple := code
	switch x.(type) {
	case *nameExpr, *member, *indexExpr:
	default:
		r.failAt(start, Missing, "%s has no value", code)
	}
	if m, ok := x.(*member); ok {
		code = m.name + " in " + r.code(m.of)
	}
	r.failAt(start, Missing, "the variable %s is missing: neither a setting nor a default gives it; add it, or write %s!default, or test it with <#if %s??>",
		code, simple, simple)
}

// step counts work, and looks at the context now and then.
func (r *renderer) step(at int) { r.spend(at, 1) }

// spend counts what takes as long as n steps.
func (r *renderer) spend(at, n int) {
	before := r.steps
	r.steps += n
	if r.steps > r.limits.Steps {
		r.failAt(at, Limit, "the template takes more than %d steps; look for an endless loop", r.limits.Steps)
	}
	if before/256 != r.steps/256 || before == 0 {
		if err := r.ctx.Err(); err != nil {
			e := r.t.src.errorAt(at, RenderPhase, Limit, "the rendering was ended: %v", err)
			e.Err = err
			panic(e)
		}
	}
}

// charge counts bytes of values that are made.
func (r *renderer) charge(at, n int) {
	r.work += n
	if n > MaxTextBytes || r.work > r.limits.Work {
		r.failAt(at, Limit, "the template makes texts or lists that are too large: at most %d bytes in one, %d in all", MaxTextBytes, r.limits.Work)
	}
}

func (r *renderer) write(at int, s string) {
	r.written += len(s)
	if r.written > r.limits.Output {
		r.failAt(at, Limit, "the output is longer than %d bytes", r.limits.Output)
	}
	r.out.WriteString(s)
}

// capture gives what body writes.
func (r *renderer) capture(body []node) (string, signal) {
	before := r.out
	r.out = &strings.Builder{}
	s := r.exec(body)
	text := r.out.String()
	r.out = before
	return text, s
}

// checkpoint is what a caught error must restore.
// What #setting changed stays changed, as variables do.
type checkpoint struct {
	scope *scope
	frame *frame
	out   *strings.Builder
	calls int
	depth int
	t     *Template
}

func (r *renderer) checkpoint() checkpoint {
	return checkpoint{r.scope, r.frame, r.out, r.calls, r.depth, r.t}
}

func (r *renderer) restore(c checkpoint) {
	r.scope, r.frame, r.out, r.calls, r.depth, r.t = c.scope, c.frame, c.out, c.calls, c.depth, c.t
}
