package template

import (
	"slices"
	"testing"
)

// TestArena: what was handed out stays as it is, however much comes after it, and an append to one list leaves the next alone.
func TestArena(t *testing.T) {
	var values arena[int]
	var lists arena[int]
	var got []*int
	var all, want [][]int
	for n := range 300 {
		v := values.next()
		*v = n
		got = append(got, v)
		list, same := lists.open(), []int(nil)
		for i := range n % 11 * (n % 7) {
			list, same = append(list, n+i), append(same, n+i)
		}
		all, want = append(all, lists.close(list)), append(want, same)
	}
	for n := range got {
		_ = append(all[n], -1)
	}
	for n := range got {
		if *got[n] != n || !slices.Equal(all[n], want[n]) {
			t.Fatalf("%d: %d and %v", n, *got[n], all[n])
		}
	}
}
