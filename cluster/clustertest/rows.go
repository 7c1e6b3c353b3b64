package clustertest

import (
	"fmt"

	"github.com/muster-hq/muster/fsm/state"
)

// Tables are those of the rows below, which every cluster of a test has.
func Tables() []state.TableDef {
	return []state.TableDef{
		state.Define[Counter](state.TableOptions[Counter]{}),
		state.Define[Element](state.TableOptions[Element]{}),
		state.Define[Answer](state.TableOptions[Answer]{}),
		state.Define[Wide](state.TableOptions[Wide]{}),
	}
}

// Counter is a number under a name: a register of a history, too.
type Counter struct {
	Name  string `json:"name"`
	Count int    `json:"count"`
}

// Table is the table's name.
func (*Counter) Table() string { return "testcounter" }

// Key is the name.
func (c *Counter) Key() string { return c.Name }

// Ranges: none.
func (*Counter) Ranges() []string { return nil }

// Parent: none.
func (*Counter) Parent() (table, key string) { return "", "" }

// Element is one place of a list. Its key is list and place, so an append that took effect twice shows twice.
type Element struct {
	List  string `json:"list"`
	Place int    `json:"place"`
	Value int    `json:"value"`
}

// Table is the table's name.
func (*Element) Table() string { return "testelement" }

// Key is made of list and place.
func (e *Element) Key() string { return fmt.Sprintf("%s/%06d", e.List, e.Place) }

// Ranges: the places of the list.
func (e *Element) Ranges() []string { return []string{"list/" + e.List} }

// Parent: none.
func (*Element) Parent() (table, key string) { return "", "" }

// Answer is what an operation that has a key saw, written in the same commit: whoever repeats the operation gets it.
type Answer struct {
	Name     string `json:"name"`
	Register int    `json:"register"`
	List     string `json:"list"`
	Length   int    `json:"length"`
	Partly   bool   `json:"partly"`
}

// Table is the table's name.
func (*Answer) Table() string { return "testanswer" }

// Key is the operation's key.
func (a *Answer) Key() string { return a.Name }

// Ranges: none.
func (*Answer) Ranges() []string { return nil }

// Parent: none.
func (*Answer) Parent() (table, key string) { return "", "" }

// Wide is a row of any size.
type Wide struct {
	Name string `json:"name"`
	Text string `json:"text"`
}

// Table is the table's name.
func (*Wide) Table() string { return "testwide" }

// Key is the name.
func (w *Wide) Key() string { return w.Name }

// Ranges: none.
func (*Wide) Ranges() []string { return nil }

// Parent: none.
func (*Wide) Parent() (table, key string) { return "", "" }
