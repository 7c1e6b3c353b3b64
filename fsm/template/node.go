package template

// node is an element of a template. exec writes its output.
type node interface{ exec(r *renderer) signal }

// signal is how an element ended.
type signal int

const (
	sigNone signal = iota
	sigBreak
	sigContinue
	sigReturn
)

type (
	textNode struct {
		text string
		at   int
	}
	interpNode struct {
		place
		of     expr
		format *hashFormat // of #{n; m1M2}
	}
	hashFormat struct{ min, max int }

	ifNode struct {
		arms  []ifArm
		other []node
	}
	ifArm struct {
		test expr
		body []node
	}

	listNode struct {
		place
		of    expr
		vars  loopVars // empty names: the body holds #items
		body  []node
		other []node
	}
	// loopVars are the names of a loop: one for a list, two for an object.
	loopVars  struct{ first, second string }
	itemsNode struct {
		place
		vars loopVars
		body []node
	}
	sepNode      struct{ body []node }
	breakNode    struct{}
	continueNode struct{}

	assignNode struct {
		place
		scope string // assign, global or local
		name  string
		op    string // =, +=, ..., ++
		value expr
	}
	captureNode struct {
		place
		scope, name string
		body        []node
	}

	switchNode struct {
		place
		of    expr
		cases []switchCase
	}
	switchCase struct {
		place
		value expr // nil for #default
		body  []node
	}

	// macroNode is a definition; it is known in the whole file from the start.
	macroNode struct {
		place
		name     string
		function bool
		params   []param
		rest     string // the name that takes the remaining arguments
		body     []node
	}
	param struct {
		name     string
		fallback expr
	}
	callNode struct {
		place
		macro expr
		args  []expr
		named []namedArg
		vars  []string
		body  []node // nil when there is none
		block bool
	}
	namedArg struct {
		place
		name  string
		value expr
	}
	nestedNode struct {
		place
		args []expr
	}
	returnNode struct{ value expr }

	stopNode struct {
		place
		text expr
	}
	settingNode struct {
		place
		name  string
		value expr
	}
	attemptNode  struct{ body, recover []node }
	compressNode struct{ body []node }
)
