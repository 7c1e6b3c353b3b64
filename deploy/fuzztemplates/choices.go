package main

import "math/rand/v2"

// choices are the decisions that a template is made of. A generator that draws zeros makes the smallest template, so a
// template is shrunk by shortening and zeroing its list of decisions and generating again.
type choices struct {
	replay []uint32
	rng    *rand.Rand // nil while replaying: zeros after the end
	made   []uint32
}

func fresh(seed uint64) *choices { return &choices{rng: rand.New(rand.NewPCG(seed, 1))} }

func replayed(list []uint32) *choices { return &choices{replay: list} }

// below draws a number from 0 to n-1.
func (c *choices) below(n int) int {
	var v uint32
	switch {
	case c.rng != nil:
		v = c.rng.Uint32N(uint32(n))
	case len(c.made) < len(c.replay):
		v = c.replay[len(c.made)] % uint32(n)
	}
	c.made = append(c.made, v)
	return int(v)
}

// oneIn is true once in n draws.
func (c *choices) oneIn(n int) bool { return c.below(n) == n-1 }

func (c *choices) pick(list ...string) string { return list[c.below(len(list))] }

// shrink finds a smaller list for which fails is still true; it asks at most limit times.
func shrink(list []uint32, limit int, fails func([]uint32) bool) []uint32 {
	try := func(candidate []uint32) bool {
		if limit == 0 {
			return false
		}
		limit--
		if !fails(candidate) {
			return false
		}
		list = candidate
		return true
	}
	for again := true; again && limit > 0; {
		again = false
		for size := len(list) / 2; size > 0; size /= 2 {
			for at := 0; at+size <= len(list) && limit > 0; {
				cut := append(append([]uint32{}, list[:at]...), list[at+size:]...)
				if try(cut) {
					again = true
					continue
				}
				if anyAbove(list[at : at+size]) {
					zeroed := append([]uint32{}, list...)
					clear(zeroed[at : at+size])
					again = try(zeroed) || again
				}
				at += size
			}
		}
		for at := range list {
			for at < len(list) && list[at] > 1 {
				less := append([]uint32{}, list...)
				less[at] /= 2
				if !try(less) {
					break
				}
				again = true
			}
		}
	}
	return list
}

func anyAbove(list []uint32) bool {
	for _, v := range list {
		if v > 0 {
			return true
		}
	}
	return false
}
