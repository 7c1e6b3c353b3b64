package template

// kind is what a value is.
type kind int

const (
	kindText kind = iota
	kindNumber
	kindBool
	kindList
	kindObject
	kindDate
	kindEmpty  // what `x!` yields: empty text, list and object at once
	kindMacro  // a macro or function of the template
	kindMatch  // the result of ?matches: a boolean and a list
	kindGroups // one match: a text with groups
	kindMarkup // the result of ?interpret
)

// Value is a value of the data model. It is never changed once made, and so may be used by many renderings at once.
// A nil *Value is a missing value (null).
type Value struct {
	kind  kind
	text  string
	flag  bool
	num   decimal
	items []*Value
	coll  bool         // a list that ?is_collection is true of
	rng   *numberRange // a list that is not kept but counted
	obj   *Object
	more  any // a date, a macro, an interpreted template
}

// numberRange is a range with a length.
type numberRange struct {
	from int64
	step int64
	size int64
	open bool // 1.. : slices to the end, empty as a list
	fits bool // a..*n: a slice stops at the end instead of failing
}

// Text makes a text.
func Text(s string) *Value { return &Value{kind: kindText, text: s} }

// Bool makes a boolean.
func Bool(b bool) *Value { return &Value{kind: kindBool, flag: b} }

// Int makes a number.
func Int(i int64) *Value { return number(decimalInt(i)) }

// List makes a list; it keeps items, which the caller must no longer change.
func List(items ...*Value) *Value { return &Value{kind: kindList, items: items} }

func number(d decimal) *Value { return &Value{kind: kindNumber, num: d} }

// Object is an object under construction: keys in the order they were first set. Not safe for concurrent change.
type Object struct {
	keys   []string
	values map[string]*Value
}

// NewObject makes an empty object.
func NewObject() *Object { return &Object{values: map[string]*Value{}} }

// Set sets a key; a nil value is null, that is missing.
func (o *Object) Set(key string, v *Value) {
	if _, ok := o.values[key]; !ok {
		o.keys = append(o.keys, key)
	}
	o.values[key] = v
}

// Value gives the object as a value; o must not be changed afterwards.
func (o *Object) Value() *Value { return &Value{kind: kindObject, obj: o} }

func (o *Object) get(key string) *Value { return o.values[key] }

// isList says that v can be walked.
func (v *Value) isList() bool {
	return v.kind == kindList || v.kind == kindEmpty || v.kind == kindMatch
}

// isBool says that v is true or false.
func (v *Value) isBool() bool { return v.kind == kindBool || v.kind == kindMatch }

func (v *Value) isObject() bool { return v.kind == kindObject || v.kind == kindEmpty }

func (v *Value) isText() bool {
	return v.kind == kindText || v.kind == kindEmpty || v.kind == kindGroups
}

// size is the length of a list or object.
func (v *Value) size() int64 {
	switch {
	case v.rng != nil && v.rng.open:
		return 0
	case v.rng != nil:
		return v.rng.size
	case v.kind == kindObject:
		return int64(len(v.obj.keys))
	}
	return int64(len(v.items))
}

// at is an item of a list, nil beyond its ends.
func (v *Value) at(i int64) *Value {
	if i < 0 {
		return nil
	}
	if v.rng != nil {
		if !v.rng.open && i >= v.rng.size {
			return nil
		}
		return Int(v.rng.from + i*v.rng.step)
	}
	if i >= int64(len(v.items)) {
		return nil
	}
	return v.items[i]
}

// nothing gives v if it is what ?if_exists makes of a missing value: it counts as false, too.
func nothing(v *Value) *Value {
	if v.kind == kindEmpty && v.more != nil {
		return v
	}
	return nil
}

// kindName is the word for v's kind in error texts.
func (v *Value) kindName() string {
	if v == nil {
		return "nothing"
	}
	return [...]string{
		"a text", "a number", "a boolean", "a list", "an object", "a date", "nothing", "a macro",
		"the result of ?matches", "a match", "an interpreted template",
	}[v.kind]
}
