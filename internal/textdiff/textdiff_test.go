package textdiff

import (
	"strings"
	"testing"
)

func TestUnified(t *testing.T) {
	for _, c := range []struct{ a, b, want string }{
		{"", "", ""},
		{"same\n", "same\n", ""},
		{"", "a\nb\n", "--- x\n+++ y\n@@ -0,0 +1,2 @@\n+a\n+b\n"},
		{"a\n", "", "--- x\n+++ y\n@@ -1 +0,0 @@\n-a\n"},
		{"a\nb\nc\n", "a\nB\nc\n", "--- x\n+++ y\n@@ -1,3 +1,3 @@\n a\n-b\n+B\n c\n"},
		{"a", "a\n", "--- x\n+++ y\n@@ -1 +1 @@\n-a\n\\ No newline at end of file\n+a\n"},
		{
			"1\n2\n3\n4\n5\n6\n7\n8\n9\n10\n11\n", "1\nx\n3\n4\n5\n6\n7\n8\n9\ny\n11\n",
			"--- x\n+++ y\n@@ -1,5 +1,5 @@\n 1\n-2\n+x\n 3\n 4\n 5\n@@ -7,5 +7,5 @@\n 7\n 8\n 9\n-10\n+y\n 11\n",
		},
	} {
		if got := Unified("x", "y", c.a, c.b); got != c.want {
			t.Errorf("from %q to %q:\n%s\nwant\n%s", c.a, c.b, got, c.want)
		}
	}
}

// patched follows a unified diff, strictly: what it says of a must be so.
func patched(t *testing.T, a, diff string) string {
	t.Helper()
	if diff == "" {
		return a
	}
	var out strings.Builder
	rest := lines(a)
	body := lines(diff)[2:]
	for i := 0; i < len(body); i++ {
		line, bare := body[i], i+1 < len(body) && strings.HasPrefix(body[i+1], `\`)
		text := line[1:]
		if bare {
			text = strings.TrimSuffix(text, "\n")
		}
		switch line[0] {
		case '@':
			at := strings.Fields(line)[1][1:]
			first, n, _ := strings.Cut(at, ",")
			skip := len(lines(a)) - len(rest)
			want := number(t, first) - skip
			if n != "0" {
				want--
			}
			for range want {
				out.WriteString(rest[0])
				rest = rest[1:]
			}
		case ' ', '-':
			if len(rest) == 0 || rest[0] != text {
				t.Fatalf("the diff says %q where the text goes on with %q:\n%s", text, rest, diff)
			}
			if line[0] == ' ' {
				out.WriteString(text)
			}
			rest = rest[1:]
		case '+':
			out.WriteString(text)
		}
	}
	return out.String() + strings.Join(rest, "")
}

func number(t *testing.T, s string) int {
	t.Helper()
	n := 0
	for _, c := range s {
		n = 10*n + int(c-'0')
	}
	return n
}

func FuzzUnified(f *testing.F) {
	f.Add("a\nb\nc\n", "a\nc\nd\n")
	f.Add("x", "")
	f.Add("1\n2\n3\n4\n5\n6\n7\n8\n9\n", "0\n1\n2\n3\n4\n5\n6\n7\n9")
	f.Fuzz(func(t *testing.T, a, b string) {
		if got := patched(t, a, Unified("x", "y", a, b)); got != b {
			t.Errorf("from %q to %q the diff leads to %q", a, b, got)
		}
	})
}

// Long texts that differ everywhere are told apart in bounded time, as a whole.
func TestBounded(t *testing.T) {
	a := strings.Repeat("left\n", maxLines+1)
	b := strings.Repeat("right\n", maxLines+1)
	if got := patched(t, a, Unified("x", "y", a, b)); got != b {
		t.Error("the diff of long texts leads elsewhere")
	}
}
