package template

// expr is an expression. eval gives nil when the value is missing.
type expr interface {
	eval(r *renderer) *Value
	span() (start, end int)
}

// place is where an expression stands in the file.
type place struct{ start, end int }

func (p place) span() (int, int) { return p.start, p.end }

type (
	// literal is a text, number or boolean.
	literal struct {
		place
		value *Value
	}
	// mixedText is a quoted text with ${} in it.
	mixedText struct {
		place
		parts []expr
	}
	listLiteral struct {
		place
		items []expr
	}
	objectLiteral struct {
		place
		keys, values []expr
	}
	// rangeExpr is a..b and its kin; to is nil for a.. alone.
	rangeExpr struct {
		place
		from, to expr
		op       string
	}
	nameExpr struct {
		place
		name string
	}
	// special is .name.
	special struct {
		place
		name string
	}
	member struct {
		place
		of   expr
		name string
	}
	indexExpr struct {
		place
		of, index expr
	}
	callExpr struct {
		place
		fn   expr
		args []expr
	}
	builtinExpr struct {
		place
		of    expr
		name  string
		spec  builtin
		args  []expr
		byKey bool // the argument came as .name or [..], as in ?string.short
	}
	defaultExpr struct {
		place
		of, other expr // other may be nil
	}
	existsExpr struct {
		place
		of expr
	}
	unaryExpr struct {
		place
		op string
		of expr
	}
	binaryExpr struct {
		place
		op   string
		a, b expr
	}
	parenExpr struct {
		place
		of expr
	}
	// lambda is x -> expression, an argument of ?filter and its kin only.
	lambda struct {
		place
		name string
		body expr
	}
)
