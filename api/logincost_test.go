package api_test

import (
	"math"
	"net/http"
	"runtime"
	"testing"
)

// argonRuns counts how often a password is hashed while f runs. Argon2id takes 19 MiB each time, and little else does.
func argonRuns(f func()) int {
	const each = 19 << 20
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	f()
	runtime.ReadMemStats(&after)
	return int(math.Round(float64(after.TotalAlloc-before.TotalAlloc) / each))
}

// What a refused login costs does not tell whether the account is there, nor whether anybody could have the password.
func TestRefusedLoginsCostTheSame(t *testing.T) {
	s := newSite(t).remembered()
	s.user("anna", "", "")
	s.user("renée", "", "")
	for _, c := range []struct { // few enough of each that none has to wait
		name        string
		user, other string
		passwords   []string
		want        int
	}{
		{"plain", "anna", "nobody", []string{"wrong-password", "x", ""}, 1},
		// of what is not ASCII there are two readings, and both are tried, whoever is there
		{"not ASCII", "renée", "rennée", []string{"wrong-password"}, 2},
	} {
		for _, password := range c.passwords {
			var runs []int
			for _, user := range []string{c.user, c.other} {
				runs = append(runs, argonRuns(func() {
					req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, s.url+"/organizations/", nil)
					if err != nil {
						t.Fatal(err)
					}
					req.SetBasicAuth(user, password)
					resp, err := http.DefaultClient.Do(req)
					if err != nil {
						t.Fatal(err)
					}
					_ = resp.Body.Close()
					if resp.StatusCode != http.StatusUnauthorized {
						t.Errorf("%s with %q: %d", user, password, resp.StatusCode)
					}
				}))
			}
			if runs[0] != c.want || runs[1] != c.want {
				t.Errorf("%s, %q: as %s a password is hashed %d times, as %s %d times; want %d", c.name, password, c.user, runs[0], c.other, runs[1], c.want)
			}
		}
	}
}
