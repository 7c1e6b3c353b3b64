package orchestrate

import (
	"os/exec"
	"strings"
	"testing"
)

func TestSHA512Crypt(t *testing.T) {
	const want = "svn8UoSVapNtMuq1ukKS4tPQd8iKwSMHWjl/O817G3uBnIFNjnQJuesI68u4OTLiBFdcbYEdFCoEOfaS35inz1"
	if got := sha512Crypt([]byte("Hello world!"), []byte("saltstring")); got != want {
		t.Errorf("the specification's example: got %s", got)
	}
}

// TestSHA512CryptAgainstOpenSSL compares with another implementation, where there is one.
func TestSHA512CryptAgainstOpenSSL(t *testing.T) {
	openssl, err := exec.LookPath("openssl")
	if err != nil {
		t.Log("openssl is not here: compared with the specification's example only")
		return
	}
	for _, password := range []string{"a", "secret", "pässwörd", strings.Repeat("long", 40)} {
		cmd := exec.Command(openssl, "passwd", "-6", "-salt", "0123456789abcdef", "-stdin")
		cmd.Stdin = strings.NewReader(password + "\n")
		out, err := cmd.Output()
		if err != nil {
			t.Fatal(err)
		}
		if got := "$6$0123456789abcdef$" + sha512Crypt([]byte(password), []byte("0123456789abcdef")); got != strings.TrimSpace(string(out)) {
			t.Errorf("%q: got %s, openssl says %s", password, got, out)
		}
	}
}
