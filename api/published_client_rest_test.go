package api_test

import (
	"os"
	"strings"
	"testing"
)

// TestPublishedClientRest runs the commands of the published client for CORE nouns that the other two do not: each change
// is confirmed by a later show or list. See TestPublishedClient.
func TestPublishedClientRest(t *testing.T) {
	dir := os.Getenv("COMODIT_CLIENT")
	if dir == "" {
		t.Log("COMODIT_CLIENT is not set: the recorded exchanges stand in for the client")
		return
	}
	s := newSite(t).furnish().furnishMore()
	s.furnishMost("acme", "Dev", "web1", "web")
	c := newComodit(t, dir, s)
	for _, kit := range []string{"/applications/web", "/distributions/os"} { // without a picture the client's sync breaks off
		if a := s.raw("POST", inAcme+kit+"/thumb", anyUpload, "Content-Type", "multipart/form-data; boundary=B"); a.status != 200 {
			t.Fatalf("a picture: %d %s", a.status, a.body)
		}
	}
	for _, commands := range [][][2]string{clientOwners(), clientKeys(), clientEnvironments(), clientHosts(), clientContextActions(), clientParts(), clientLogs(), clientSync()} {
		c.play(commands)
	}
}

// clientOwners are settings and groups of what has them.
func clientOwners() [][2]string {
	var out [][2]string
	for _, of := range [][2]string{{"organizations", "acme"}, {"environments", "acme|Dev"}, {"hosts", "acme|Dev|web1"}} {
		noun, at := of[0], of[1]
		out = append(out,
			[2]string{noun + "|settings|add|" + at + "|-j|{\"key\": \"c l\", \"value\": [1]}", " Value: [1]\n"},
			[2]string{noun + "|settings|list|" + at, "c l\n"},
			[2]string{noun + "|settings|show|" + at + "|c l", " Key: c l\n"},
			[2]string{noun + "|settings|update|" + at + "|c l|-j|{\"key\": \"c l\", \"value\": \"two\"}", " Value: two\n"},
			[2]string{noun + "|settings|show|" + at + "|c l", " Value: two\n"},
			[2]string{noun + "|settings|change|" + at + "|--force|-j|[{\"key\": \"c l\", \"value\": \"three\"}]", "c l"},
			[2]string{noun + "|settings|show|" + at + "|c l", " Value: three\n"},
			[2]string{noun + "|settings|delete|" + at + "|c l|--force", ""},
			[2]string{noun + "|settings|show|" + at + "|c l", "Entity not found"},
			[2]string{noun + "|groups|list|" + at, "readonly\n"},
			[2]string{noun + "|groups|show|" + at + "|users", " Name: users\n"},
			[2]string{noun + "|groups|update|" + at + "|users|-j|{\"name\": \"users\", \"users\": [{\"username\": \"admin\"}]}", "admin"},
			[2]string{noun + "|groups|show|" + at + "|users", "admin"},
			[2]string{noun + "|groups|tree|" + at, "Username: admin\n"},
		)
	}
	return out
}

func clientKeys() [][2]string {
	return [][2]string{
		{"organizations|show|acme", " Name: acme\n"},
		{"organizations|reset-secret|acme", ""},
		{"organizations|application-keys|list|acme", "port\n"},
		{"organizations|application-keys|show|acme|port", " Name: port\n"},
		{"organizations|application-keys|reset|acme|port", "Token"},
		{"organizations|application-keys|delete|acme|port|--force", ""},
		{"organizations|application-keys|show|acme|port", "Entity not found"},
	}
}

func clientEnvironments() [][2]string {
	return [][2]string{
		{"environments|add|acme|-j|{\"name\": \"E 1\", \"description\": \"d\"}", " Name: E 1\n"},
		{"environments|list|acme", "E 1\n"},
		{"environments|update|acme|E 1|-j|{\"name\": \"E 2\", \"description\": \"e\"}", " Name: E 2\n Description: e\n"},
		{"environments|show|acme|E 2", " Description: e\n"},
		{"environments|show|acme|E 1", "Entity not found"},
		{"environments|clone|acme|E 2|E 3", ""},
		{"environments|show|acme|E 3", " Name: E 3\n"},
		{"environments|delete|acme|E 3|--force", ""},
		{"environments|list|acme", "Dev\nE 2\n"},
	}
}

func clientHosts() [][2]string {
	return [][2]string{
		{"hosts|add|acme|E 2|-j|{\"name\": \"h 1\", \"description\": \"d\", \"platform\": \"cloud\", \"distribution\": \"os\", \"applications\": [\"web\"]}", " State: DEFINED\n"},
		{"hosts|list|acme|E 2", "h 1\n"},
		{"hosts|update|acme|E 2|h 1|-j|{\"name\": \"h 2\", \"description\": \"e\"}", " Name: h 2\n"},
		{"hosts|show|acme|E 2|h 2", " Description: e\n"},
		{"hosts|clone|acme|E 2|h 2", ""},
		{"hosts|show|acme|E 2|h 2-clone", " State: DEFINED\n"},
		{"hosts|delete|acme|E 2|h 2-clone|--force", ""},
		{"hosts|show|acme|E 2|h 2-clone", "Entity not found"},
		{"hosts|provision|acme|E 2|h 2", "makes no machines"},
		{"hosts|vnc|acme|Dev|web1", "viewer of "},
		{"hosts|alerts|list|acme|Dev|web1", "No alerts raised"},
		{"hosts|instance|lock|acme|Dev|web1", ""},
		{"hosts|instance|forget|acme|Dev|web1|--force", "locked"},
		{"hosts|instance|unlock|acme|Dev|web1|--force", ""},
	}
}

// clientContextActions are those on an application of a host.
func clientContextActions() [][2]string {
	h, w := "acme|Dev|web1", "acme|Dev|web1|web"
	return [][2]string{
		{"hosts|applications|list|" + h, "web\n"},
		{"hosts|applications|show|" + w, " Application: web\n"},
		{"hosts|applications|link|" + w + "|site.conf", "/api/links/"},
		{"hosts|applications|settings|add|" + w + "|-j|{\"key\": \"own\", \"value\": 1}", " Value: 1\n"},
		{"hosts|applications|settings|list|" + w, "own\n"},
		{"hosts|applications|settings|show|" + w + "|own", " Key: own\n"},
		{"hosts|applications|settings|delete|" + w + "|own|--force", ""},
		{"hosts|changes|delete-all|" + h, "There are 0 finished changes"},
		{"hosts|applications|actions|run|" + w + "|reload", ""},
		{"hosts|applications|actions|update-file|" + w + "|site.conf", ""},
		{"hosts|applications|actions|update-service|" + w + "|nginx", ""},
		{"hosts|applications|actions|enable-service|" + w + "|nginx", ""},
		{"hosts|applications|actions|disable-service|" + w + "|nginx", ""},
		{"hosts|applications|actions|install-package|" + w + "|nginx", ""},
		{"hosts|applications|actions|update-package|" + w + "|nginx", ""},
		{"hosts|changes|list|" + h, "nginx"},
		{"hosts|compliance|list|" + h, "nginx"},
		{"hosts|compliance|show|" + h + "|applications/web/services/nginx", "nginx"},
		{"hosts|compliance|delete|" + h + "|applications/web/services/nginx|--force", ""},
		{"hosts|compliance|delete-all|" + h + "|--force", ""},
		{"hosts|compliance|list|" + h, "No entities to list"},
		{"hosts|compliance|rebuild|" + h, ""},
		{"hosts|applications|uninstall|" + w + "|--force", ""},
		{"hosts|applications|list|" + h, "No entities to list"},
		{"hosts|applications|install|" + h + "|-j|{\"application\": \"web\"}", " Application: web\n"},
	}
}

// clientParts are files and parameters.
func clientParts() [][2]string {
	var out [][2]string
	for _, of := range []string{"applications|%|acme|web", "platforms|%|acme|cloud", "distributions|%|acme|os"} {
		noun, at, _ := strings.Cut(of, "%")
		named := func(name string) string { // of applications the client heads a file by its name
			if noun == "applications|" {
				return " " + name + ":\n"
			}
			return " Name: " + name + "\n"
		}
		out = append(out,
			[2]string{noun + "files|add" + at + "|-j|{\"name\": \"more\", \"path\": \"/etc/more\"}", named("more")},
			[2]string{noun + "files|list" + at, "more\n"},
			[2]string{noun + "files|show" + at + "|more", named("more")},
			[2]string{noun + "files|update" + at + "|more|-j|{\"name\": \"less\", \"path\": \"/etc/less\"}", named("less")},
			[2]string{noun + "files|set-content" + at + "|less|site.conf", ""},
			[2]string{noun + "files|show-content" + at + "|less", "listen ${port} of ${_host.name};\n"},
			[2]string{noun + "files|delete" + at + "|less|--force", ""},
			[2]string{noun + "files|show" + at + "|less", "Entity not found"},
			[2]string{noun + "parameters|add" + at + "|-j|{\"name\": \"P 1\", \"key\": \"p1\", \"value\": 1}", " Key: p1\n"},
			[2]string{noun + "parameters|list" + at, "P 1\n"},
			[2]string{noun + "parameters|update" + at + "|P 1|-j|{\"name\": \"P 1\", \"key\": \"p1\", \"value\": \"two\"}", "two"},
			[2]string{noun + "parameters|show" + at + "|P 1", "two"},
			[2]string{noun + "parameters|delete" + at + "|P 1|--force", ""},
			[2]string{noun + "parameters|show" + at + "|P 1", "Entity not found"},
		)
	}
	return append(out,
		[2]string{"distributions|show|acme|os", " Name: os\n"},
		[2]string{"applications|show|acme|web", " Name: web\n"},
	)
}

// clientLogs are those that the client can ask for.
func clientLogs() [][2]string {
	return [][2]string{
		{"organizations|audit-logs|acme", "acme"},
		{"organizations|agent-logs|acme", ""},
		{"organizations|other-logs|acme", ""},
		{"environments|audit-logs|acme|Dev", "Dev"},
		{"environments|agent-logs|acme|Dev", ""},
		{"environments|other-logs|acme|Dev", ""},
		{"hosts|audit|acme|Dev|web1", "web1"},
		{"hosts|other-logs|acme|Dev|web1", ""},
	}
}

// clientSync are import, export and synchronization of folders.
func clientSync() [][2]string {
	return [][2]string{
		{"organizations|export|acme|all", "exporting web"},
		{"organizations|import|all|--dry-run", "* Create orchestration 'roll'"},
		{"environments|import|acme|all/environments/E 2|--dry-run", "* Create host 'h 2'"},
		{"hosts|import|acme|E 2|all/environments/E 2/hosts/h 2|--dry-run", "* Create application context 'web'"},
		{"applications|import|acme|all/applications/web|--dry-run", "There is a conflict for file 'site.conf'"},
		{"applications|export|acme|web|web-folder", "exporting web"},
		{"applications|sync|pull|acme|web|web-folder|--dry-run", "site.conf"},
		{"applications|sync|push|acme|web|web-folder|--dry-run", "site.conf"},
		{"distributions|sync|pull|acme|os|all/distributions/os|--dry-run", "ks"},
	}
}
