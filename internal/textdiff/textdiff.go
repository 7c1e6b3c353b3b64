// Package textdiff tells two texts apart line by line, in the unified form that patch(1) and people read.
package textdiff

import (
	"fmt"
	"strings"
)

const (
	around   = 3    // lines shown before and after a change
	maxLines = 4000 // beyond, on either side, what differs in the middle is told as a whole
	maxEdits = 400  // beyond, likewise
)

// Unified gives what leads from a to b as a unified diff with the names given, "" when they are equal. It is bounded in
// time: of texts that are long and very different it may show more lines than it needs to.
func Unified(nameA, nameB, a, b string) string {
	if a == b {
		return ""
	}
	la, lb := lines(a), lines(b)
	var out strings.Builder
	fmt.Fprintf(&out, "--- %s\n+++ %s\n", nameA, nameB)
	for _, h := range hunks(edits(la, lb)) {
		h.write(&out, la, lb)
	}
	return out.String()
}

// lines cuts a text behind each line end; the last line may lack one.
func lines(s string) []string {
	if s == "" {
		return nil
	}
	out := strings.SplitAfter(s, "\n")
	if out[len(out)-1] == "" {
		out = out[:len(out)-1]
	}
	return out
}

// edit is a step from a to b: a run of lines that both have, or that only one has.
type edit struct {
	op         byte // ' ', '-', '+'
	a, b, size int  // where it begins in each, and how many lines
}

// edits leads from a to b. What both begin and end with is set aside first.
func edits(a, b []string) []edit {
	head := 0
	for head < len(a) && head < len(b) && a[head] == b[head] {
		head++
	}
	tail := 0
	for tail < len(a)-head && tail < len(b)-head && a[len(a)-1-tail] == b[len(b)-1-tail] {
		tail++
	}
	out := add(nil, ' ', 0, 0, head)
	for _, e := range middle(a[head:len(a)-tail], b[head:len(b)-tail]) {
		out = add(out, e.op, head+e.a, head+e.b, e.size)
	}
	return add(out, ' ', len(a)-tail, len(b)-tail, tail)
}

// add appends a step, as part of the last one if it goes on with it.
func add(es []edit, op byte, a, b, size int) []edit {
	if size == 0 {
		return es
	}
	if n := len(es); n > 0 && es[n-1].op == op {
		es[n-1].size += size
		return es
	}
	return append(es, edit{op, a, b, size})
}

// middle is E. Myers' greedy algorithm ("An O(ND) difference algorithm and its variations", 1986), within bounds.
func middle(a, b []string) []edit {
	whole := add(add(nil, '-', 0, 0, len(a)), '+', len(a), 0, len(b))
	if len(a) == 0 || len(b) == 0 || len(a) > maxLines || len(b) > maxLines {
		return whole
	}
	most := min(len(a)+len(b), maxEdits)
	v := make([]int, 2*most+2) // farthest place in a on each diagonal
	var trail [][]int
	for d := 0; d <= most; d++ {
		trail = append(trail, append([]int(nil), v...))
		for k := -d; k <= d; k += 2 {
			x := 0
			if k == -d || k != d && v[most+k-1] < v[most+k+1] {
				x = v[most+k+1]
			} else {
				x = v[most+k-1] + 1
			}
			for x < len(a) && x-k < len(b) && x-k >= 0 && a[x] == b[x-k] {
				x++
			}
			v[most+k] = x
			if x >= len(a) && x-k >= len(b) {
				return walkBack(trail, most, len(a), len(b))
			}
		}
	}
	return whole
}

// walkBack reads the steps off the trail, from the end.
func walkBack(trail [][]int, most, x, y int) []edit {
	var back []edit
	for d := len(trail) - 1; d >= 0; d-- {
		v, k := trail[d], x-y
		from := k - 1
		if k == -d || k != d && v[most+k-1] < v[most+k+1] {
			from = k + 1
		}
		px := v[most+from]
		py := px - from
		if d == 0 {
			px, py = 0, 0
		}
		for x > px && y > py && (d == 0 || x-1 >= px && y-1 >= py) {
			x, y = x-1, y-1
			back = append(back, edit{' ', x, y, 1})
		}
		if d == 0 {
			break
		}
		if from == k+1 {
			y--
			back = append(back, edit{'+', x, y, 1})
		} else {
			x--
			back = append(back, edit{'-', x, y, 1})
		}
	}
	var out []edit
	for i := len(back) - 1; i >= 0; i-- {
		out = add(out, back[i].op, back[i].a, back[i].b, back[i].size)
	}
	return out
}

// hunk is a part of a diff: changes with lines around them.
type hunk struct{ steps []edit }

// hunks cuts the steps where more lines are equal than are shown around two changes.
func hunks(es []edit) []hunk {
	var out []hunk
	var at hunk
	for i, e := range es {
		if e.op != ' ' {
			at.steps = append(at.steps, e)
			continue
		}
		first, last := i == 0, i == len(es)-1
		switch {
		case first:
			n := min(e.size, around)
			at.steps = add(at.steps, ' ', e.a+e.size-n, e.b+e.size-n, n)
		case last:
			at.steps = append(at.steps, edit{' ', e.a, e.b, min(e.size, around)})
		case e.size <= 2*around:
			at.steps = append(at.steps, e)
		default:
			at.steps = append(at.steps, edit{' ', e.a, e.b, around})
			out = append(out, at)
			at = hunk{steps: []edit{{' ', e.a + e.size - around, e.b + e.size - around, around}}}
		}
	}
	return append(out, at)
}

func (h hunk) write(out *strings.Builder, a, b []string) {
	na, nb := 0, 0
	for _, e := range h.steps {
		if e.op != '+' {
			na += e.size
		}
		if e.op != '-' {
			nb += e.size
		}
	}
	fmt.Fprintf(out, "@@ -%s +%s @@\n", span(h.steps[0].a, na), span(h.steps[0].b, nb))
	for _, e := range h.steps {
		from, at := a, e.a
		if e.op == '+' {
			from, at = b, e.b
		}
		for _, line := range from[at : at+e.size] {
			out.WriteByte(e.op)
			out.WriteString(line)
			if !strings.HasSuffix(line, "\n") {
				out.WriteString("\n\\ No newline at end of file\n")
			}
		}
	}
}

// span is where a hunk lies, as diff writes it: counted from 1, and before the first line when it has none.
func span(at, n int) string {
	switch n {
	case 0:
		return fmt.Sprintf("%d,0", at)
	case 1:
		return fmt.Sprintf("%d", at+1)
	}
	return fmt.Sprintf("%d,%d", at+1, n)
}
