package template

// arena hands out values that live and die together, many out of one piece of memory: a template is cut into hundreds. The zero
// value is empty.
type arena[T any] struct{ room []T }

// The sizes of an arena's pieces of memory: small templates take little, large ones few.
const (
	firstRoom = 8
	mostRoom  = 32
)

// next gives room for one value.
func (a *arena[T]) next() *T {
	a.more(1)
	a.room = a.room[:len(a.room)+1]
	return &a.room[len(a.room)-1]
}

// open gives an empty list to append to. Close takes what it became, before there is another.
func (a *arena[T]) open() []T {
	a.more(4) // most lists are no longer, and one that is takes memory of its own
	return a.room[len(a.room):]
}

func (a *arena[T]) close(list []T) []T {
	if free := a.room[len(a.room):cap(a.room)]; len(list) > 0 && len(list) <= len(free) && &list[0] == &free[0] {
		a.room = a.room[:len(a.room)+len(list)]
	}
	return list[:len(list):len(list)]
}

// more makes sure that there is room for n.
func (a *arena[T]) more(n int) {
	if cap(a.room)-len(a.room) < n {
		a.room = make([]T, 0, min(max(firstRoom, 2*cap(a.room)), mostRoom))
	}
}
