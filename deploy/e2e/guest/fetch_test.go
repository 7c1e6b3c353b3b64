package guest

import (
	"io"
	"net/http"
	"strings"
	"testing"
)

func TestFetchBringsDebiansOwnPackages(t *testing.T) {
	n := NewNetwork(t)
	r := NewRepo(t)
	r.Fetch(t, "nginx-light")
	l, err := n.Listen(0)
	if err != nil {
		t.Fatal(err)
	}
	server := &http.Server{Handler: http.FileServer(http.Dir(r.Dir))}
	ended := make(chan error, 1)
	go func() { ended <- server.Serve(l) }()
	t.Cleanup(func() {
		server.Close()
		<-ended
	})
	g := Boot(t, Options{Network: n, OutwardOnly: true})
	r.UseURL(t, g, "http://"+l.Addr().String()+"/")
	g.Must(t, "apt-get", "-q", "update")
	g.Must(t, "env", "DEBIAN_FRONTEND=noninteractive", "apt-get", "-y", "-q", "--no-install-recommends", "install", "nginx-light")
	c, err := g.Dial("127.0.0.1:80")
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if _, err := io.WriteString(c, "GET / HTTP/1.0\r\n\r\n"); err != nil {
		t.Fatal(err)
	}
	if answer, err := io.ReadAll(c); err != nil || !strings.Contains(string(answer), "Welcome to nginx") {
		t.Errorf("nginx in the guest answered %q, %v", answer, err)
	}
}
