package api

import "testing"

// What is read as a cursor is written the same way again, but for zeros in front.
func FuzzCursor(f *testing.F) {
	for _, seed := range []string{"1-2", "1-2-3", "now", "", "1-2-4294967295", "-1-2", "1--2", "01-2"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, text string) {
		c, err := parseCursor(text)
		if err != nil {
			return
		}
		again, err := parseCursor(c.String())
		if err != nil || again != c || c.epoch == 0 {
			t.Errorf("%q is %+v, written %q, read %+v, %v", text, c, c.String(), again, err)
		}
	})
}
