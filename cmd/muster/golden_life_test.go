package main

import (
	"os"
	"path/filepath"
	"strconv"
)

// goldenHost is where the host is that most commands are about.
const goldenHost = "acme|Dev|web1"

// goldenLife is a host from its definition until it is ready.
func goldenLife() []golden {
	h := goldenHost
	out := once([][2]string{
		{`hosts|add|acme|Dev|-j|{"name": "h 1", "description": "d", "platform": null}`, " State: DEFINED\n"},
		{`hosts|list|acme|Dev`, "h 1\n"},
		{`hosts|provision|acme|Dev|h 1`, "has no platform"},
		{`hosts|platform|add|acme|Dev|h 1|-j|{"platform": "P (3)"}`, "P (3)"},
		{`hosts|platform|delete|acme|Dev|h 1|--force`, ""},
		{`hosts|show|acme|Dev|h 1`, "Platform: None\n"},
		{`hosts|platform|add|acme|Dev|h 1|-j|{"platform": "cloud", "settings": [{"key": "size", "value": "big"}]}`, "Platform: cloud"},
		{`hosts|platform|show|acme|Dev|h 1`, "Key: size"},
		{`hosts|distribution|add|acme|Dev|h 1|-j|{"distribution": "os2"}`, "Distribution: os2"},
		{`hosts|distribution|delete|acme|Dev|h 1|--force`, ""},
		{`hosts|distribution|add|acme|Dev|h 1|-j|{"distribution": "os"}`, "Distribution: os"},
		{`hosts|distribution|show|acme|Dev|h 1`, "Distribution: os"},
		{`hosts|update|acme|Dev|h 1|-j|{"name": "web1", "description": "e"}`, " Name: web1\n"},
		{`hosts|show|` + h, " Description: e\n"},
		{`hosts|show|acme|Dev|h 1`, "Entity not found"},
		{`hosts|clone|` + h, ""},
		{`hosts|show|acme|Dev|web1-clone`, "Platform: cloud\n"},
		{`hosts|delete|acme|Dev|web1-clone|--force`, ""},
		{`hosts|show|acme|Dev|web1-clone`, "Entity not found"},
		{`hosts|platform|render-file|` + h + `|boot [1].ipxe`, "big of web1 ${x}\n"},
		{`hosts|platform|link|` + h + `|boot [1].ipxe`, "/api/links/"},
		{`hosts|distribution|render-file|` + h + `|ks`, "lang en;\n"},
		{`hosts|distribution|link|` + h + `|ks|True`, "/api/links/"},
		{`hosts|instance|show|` + h, "Entity not found"},
		{`hosts|provision|` + h, ""},
	}...)
	return append(out,
		until(`hosts|show|`+h, " State: READY\n"),
		golden{line: `hosts|instance|show|` + h, want: " State: RUNNING\n Agent state: Up\n Hostname: web1\n Locked: False\n"},
		golden{line: `hosts|instance|properties|` + h, want: " Key: ip.eth0\n"},
		golden{line: `hosts|vnc|` + h, want: "viewer of "},
		golden{line: `hosts|provision|` + h, want: "has an instance already"},
		golden{line: `platforms|delete|acme|cloud|--force`, want: "Dev/web1"},
		golden{line: `hosts|platform|delete|` + h + `|--force`, want: "has an instance"},
	)
}

// goldenApplications installs, changes settings, and does the live actions.
func goldenApplications() []golden {
	h, w := goldenHost, goldenHost+"|web"
	settled := until(`hosts|changes|list|`+h, "No entities to list")
	out := []golden{
		{line: `hosts|applications|install|` + h + `|-j|{"application": "web"}`, want: " Application: web\n"},
		settled,
		{line: `hosts|changes|list-all|` + h, want: "0 - Install application web\n"},
		{line: `hosts|changes|show|` + h + `|0`, want: " Description: Install package nginx\n"},
		{line: `hosts|changes|show|` + h + `|0`, want: " Status: OK\n"},
		until(`hosts|show|`+h, " State: READY\n"),
		{line: `hosts|applications|list|` + h, want: "web\n"},
		{line: `hosts|applications|show|` + w, want: " Application: web\n"},
		{line: `hosts|applications|render-file|` + w + `|site.conf`, want: "listen 80 of web1;\n"},
		{line: `hosts|applications|link|` + w + `|site.conf`, want: "/api/links/"},
		{line: `hosts|applications|actions|impact|` + w + `|port`, want: ""},
		{line: `hosts|applications|update|` + w + `|-j|{"application": "web", "services": [{"name": "nginx", "enabled": true}]}`, want: " Application: web\n"},
		settled,
		{line: `environments|settings|add|acme|Dev|-j|{"key": "port", "value": "81"}`, want: " Value: 81\n"},
		settled,
		{line: `hosts|changes|list-all|` + h, want: "1 - "},
		{line: `hosts|changes|show|` + h + `|1`, want: "Description: Restart service nginx\n   Status: OK\n"},
		{line: `hosts|applications|render-file|` + w + `|site.conf`, want: "listen 81 of web1;\n"},
		{line: `hosts|applications|settings|show-origin|` + w + `|port`, want: "Value: 81\n"},
		{line: `environments|settings|delete|acme|Dev|port|--force`, want: ""},
		settled,
		{line: `hosts|changes|show|` + h + `|2`, want: "Description: Restart service nginx\n   Status: OK\n"},
	}
	n := 3
	for _, a := range [][2]string{
		{`run|` + w + `|reload|--wait`, "Update file site.conf"}, {`update-file|` + w + `|site.conf`, "site.conf"}, {`restart-service|` + w + `|nginx`, "nginx"},
		{`update-service|` + w + `|nginx`, "nginx"}, {`disable-service|` + w + `|nginx`, "nginx"}, {`enable-service|` + w + `|nginx`, "nginx"},
		{`install-package|` + w + `|nginx`, "nginx"}, {`update-package|` + w + `|nginx`, "nginx"},
	} {
		out = append(out, golden{line: `hosts|applications|actions|` + a[0]}, settled,
			golden{line: `hosts|changes|show|` + h + `|` + strconv.Itoa(n), want: a[1]}, golden{line: `hosts|changes|show|` + h + `|` + strconv.Itoa(n), want: " Status: OK\n"})
		n++
	}
	return append(out,
		golden{line: `hosts|instance|show_file|` + h + `|/etc/nginx/site.conf`, want: `b'listen 80 of web1;\n'`}, // as Python prints bytes
		golden{line: `hosts|instance|show_file|` + h + `|/etc/none`, want: "open /etc/none: no such file or directory"},
		golden{line: `hosts|instance|get_status|` + h + `|hosts|hostname`, want: "web1"},
		golden{line: `hosts|instance|get_status|` + h + `|services|nginx`, want: "('running', True)"},
		golden{line: `hosts|applications|actions|run|` + w + `|nope`, want: `Error (404): [application "web" has no handler "nope"]`},
		until(`hosts|show|`+h, " State: READY\n"),
	)
}

// goldenChanges are the changes of a host that is not there, which wait.
func goldenChanges() []golden {
	h, w := goldenHost, goldenHost+"|web"
	return []golden{
		{line: `hosts|changes|delete|` + h + `|0|--force`, want: ""},
		{line: `hosts|changes|show|` + h + `|0`, want: "Entity not found"},
		{line: `hosts|changes|delete-all|` + h, want: ""},
		{line: `hosts|changes|list-all|` + h, want: "No entities to list"},
		{line: `hosts|instance|shutdown|` + h, want: ""},
		until(`hosts|instance|show|`+h, " State: STOPPED\n Agent state: Down\n"),
		{line: `hosts|applications|actions|restart-service|` + w + `|nginx`, want: ""},
		{line: `hosts|applications|actions|update-file|` + w + `|site.conf`, want: ""},
		{line: `hosts|show|` + h, want: " State: UPDATING\n"},
		{line: `hosts|changes|list|` + h, want: "nginx"},
		{line: `hosts|changes|show|` + h + `|11`, want: " Status: PENDING\n"},
		{line: `hosts|changes|delete-all|` + h, want: "There are 0 finished changes"},
		{line: `hosts|changes|show|` + h + `|12`, want: "Entity not found"},
		{line: `hosts|instance|start|` + h, want: ""},
		until(`hosts|instance|show|`+h, " State: RUNNING\n Agent state: Up\n"),
		until(`hosts|show|`+h, " State: READY\n"),
	}
}

// goldenCompliance is a host that is not as it was described, since a package cannot be had.
func goldenCompliance() []golden {
	h := goldenHost
	return []golden{
		{line: `hosts|compliance|list|` + h, want: "No entities to list"},
		{do: spoil("etc/nginx/site.conf")},
		until(`hosts|show|`+h, " State: ERROR\n"),
		until(`hosts|compliance|list|`+h, "applications/web/files/site.conf"),
		{line: `hosts|compliance|show|` + h + `|applications/web/files/site.conf`, want: " Present: True\n"},
		{line: `hosts|compliance|delete|` + h + `|applications/web/files/site.conf|--force`, want: ""},
		{line: `hosts|compliance|list|` + h, want: "No entities to list"},
		{line: `hosts|compliance|rebuild|` + h, want: ""},
		until(`hosts|changes|list|`+h, "No entities to list"), // all is written again
		{line: `hosts|compliance|list|` + h, want: "No entities to list"},
		{do: spoil("etc/nginx/site.conf")},
		until(`hosts|compliance|list|`+h, "applications/web/files/site.conf"),
		{line: `hosts|compliance|delete-all|` + h + `|--force`, want: ""},
		{line: `hosts|compliance|list|` + h, want: "No entities to list"},
		{line: `hosts|applications|actions|update-file|` + h + `|web|site.conf`, want: ""},
		until(`hosts|show|`+h, " State: READY\n"),
		{line: `hosts|compliance|list|` + h, want: "No entities to list"},
		// an application that cannot be installed
		{line: `applications|add|acme|-j|{"name": "bad", "packages": [{"name": "no-such-package"}]}`, want: " bad\n"},
		{line: `hosts|applications|install|` + h + `|-j|{"application": "bad"}`, want: " Application: bad\n"},
		until(`hosts|show|`+h, " State: ERROR\n"),
		{line: `hosts|changes|list-all|` + h, want: "Install application bad\n"},
		{line: `hosts|applications|uninstall|` + h + `|bad|--force`, want: ""},
		until(`hosts|show|`+h, " State: READY\n"),
		{line: `hosts|applications|list|` + h, want: "web\n"},
		{line: `hosts|alerts|list|` + h, want: "No alerts raised"},
		{line: `hosts|alerts|clear|` + h, want: ""},
	}
}

// spoil changes a file on all simulated machines that have it, as somebody on the machine would.
func spoil(name string) func(*comodit) {
	return func(c *comodit) {
		c.t.Helper()
		files, err := filepath.Glob(filepath.Join(c.machines, "*", "root", name))
		if err != nil || len(files) == 0 {
			c.t.Errorf("no machine has %s: %v", name, err)
		}
		for _, f := range files {
			if err := os.WriteFile(f, []byte("by hand\n"), 0o600); err != nil {
				c.t.Error(err)
			}
		}
	}
}

// goldenPower are the actions on a machine.
func goldenPower() []golden {
	h := goldenHost
	becomes := func(state, agent string) golden {
		return until(`hosts|instance|show|`+h, " State: "+state+"\n Agent state: "+agent+"\n")
	}
	return []golden{
		{line: `hosts|instance|pause|` + h, want: ""}, becomes("PAUSED", "Down"),
		{line: `hosts|instance|resume|` + h, want: ""}, becomes("RUNNING", "Up"),
		{line: `hosts|instance|shutdown|` + h, want: ""}, becomes("STOPPED", "Down"),
		{line: `hosts|instance|start|` + h, want: ""}, becomes("RUNNING", "Up"),
		{line: `hosts|instance|poweroff|` + h, want: ""}, becomes("STOPPED", "Down"),
		{line: `hosts|instance|start|` + h, want: ""}, becomes("RUNNING", "Up"),
		{line: `hosts|instance|start|` + h, want: "it has to be STOPPED or ERROR"},
		{line: `hosts|instance|lock|` + h, want: ""},
		{line: `hosts|instance|show|` + h, want: " Locked: True\n"},
		{line: `hosts|instance|poweroff|` + h, want: "locked"},
		{line: `hosts|instance|delete|` + h, want: "locked"},
		{line: `hosts|instance|forget|` + h, want: "locked"},
		{line: `hosts|instance|unlock|` + h + `|--force`, want: ""},
		{line: `hosts|instance|unlock|` + h + `|--force`, want: "instance not locked"},
		{line: `hosts|instance|create_image|` + h + `|-j|{"name": "gold", "createDistribution": true, "settings": []}`, want: ""},
		until(`platforms|images|acme|cloud`, "gold"),
		until(`distributions|list|acme`, "gold\n"),
		// one that is forgotten, and comes back with its properties
		{line: `hosts|add|acme|Dev|-j|{"name": "web2", "platform": "cloud", "distribution": "os", "applications": ["web"]}`, want: " State: DEFINED\n"},
		{line: `hosts|provision|acme|Dev|web2`, want: ""},
		until(`hosts|show|acme|Dev|web2`, " State: READY\n"),
		{line: `hosts|changes|list-all|acme|Dev|web2`, want: "Install application web\n"},
		{line: `hosts|instance|forget|acme|Dev|web2`, want: ""},
		{line: `hosts|show|acme|Dev|web2`, want: " State: DEFINED\n"},
		{line: `hosts|instance|show|acme|Dev|web2`, want: "Entity not found"},
		{line: `hosts|provision|acme|Dev|web2`, want: ""},
		until(`hosts|show|acme|Dev|web2`, " State: READY\n"),
		{line: `hosts|instance|delete|acme|Dev|web2`, want: ""},
		{line: `hosts|show|acme|Dev|web2`, want: " State: DEFINED\n"},
		{line: `hosts|instance|show|acme|Dev|web2`, want: "Entity not found"},
	}
}

// goldenJobs do at once what they would do when they are due.
func goldenJobs() []golden {
	input := `organizations/acme/environments/Dev/hosts/web1`
	return []golden{
		{line: `organizations|jobs|add|acme|-j|{"name": "night", "enabled": "true", "cron": "0 22 * * *", "action": "STOP_HOST", "input": "` + input +
			`", "operation": {"desciption": "NONE", "operation": "NONE"}}`, want: " action: STOP_HOST\n"},
		{line: `organizations|jobs|list|acme`, want: "night\n"},
		{line: `organizations|jobs|update|acme|night|-j|{"name": "late", "description": "new", "cron": "0 23 * * *", "action": "STOP_HOST", "input": "` + input + `"}`, want: " Description: new\n"},
		{line: `organizations|jobs|show|acme|late`, want: "cron: 0 23 * * *\n"},
		{line: `organizations|jobs|show|acme|night`, want: "Entity not found"},
		{line: `organizations|jobs|run|acme|late|--wait|--force`, want: ""},
		until(`hosts|instance|show|`+goldenHost, " State: STOPPED\n"),
		{line: `organizations|jobs|add|acme|-j|{"name": "morning", "cron": "0 6 * * *", "action": "START_HOST", "input": "` + input + `"}`, want: " action: START_HOST\n"},
		{line: `organizations|jobs|run|acme|morning|--force`, want: ""},
		until(`hosts|instance|show|`+goldenHost, " State: RUNNING\n Agent state: Up\n"),
		{line: `organizations|jobs|delete|acme|morning|--force`, want: ""},
		{line: `organizations|jobs|list|acme`, want: "late\n"},
		until(`hosts|show|`+goldenHost, " State: READY\n"),
	}
}

// goldenFolders are import, export and synchronization of folders.
func goldenFolders() []golden {
	out := once([][2]string{
		{`hosts|add|acme|E 2|-j|{"name": "h 2", "platform": "cloud", "distribution": "os", "applications": ["web"]}`, " State: DEFINED\n"},
		{`environments|settings|add|acme|E 2|-j|{"key": "port", "value": "83"}`, " Value: 83\n"},
		{`organizations|export|acme|all`, "exporting h 2 to all/environments/E 2/hosts/h 2"},
		{`applications|export|acme|web|web-folder`, "exporting web to web-folder"},
		{`applications|import|acme|web-folder`, "conflict"},
		{`distributions|export|acme|os2|os2-folder`, "exporting os2"},
		{`distributions|delete|acme|os2|--force`, ""},
		{`distributions|import|acme|os2-folder`, ""},
		{`distributions|files|show-content|acme|os2|ks`, "lang ${lang};\n"},
		{`platforms|export|acme|P (3)|p3-folder`, "exporting P (3)"},
		{`platforms|delete|acme|P (3)|--force`, ""},
		{`platforms|import|acme|p3-folder`, ""},
		{`platforms|show|acme|P (3)`, "Driver class: y"},
		{`organizations|import|all|--dry-run`, "* Create orchestration 'O'"},
		{`environments|import|acme|all/environments/E 2|--dry-run`, "* Create host 'h 2'"},
		{`hosts|import|acme|E 2|all/environments/E 2/hosts/h 2|--dry-run`, "* Create application context 'web'"},
		{`applications|import|acme|all/applications/web|--dry-run`, "There is a conflict for file 'site.conf'"},
		{`hosts|delete|acme|E 2|h 2|--force`, ""},
		{`hosts|import|acme|E 2|all/environments/E 2/hosts/h 2|--skip-conflict`, "Executing 'Create application context 'web''"},
		{`hosts|applications|render-file|acme|E 2|h 2|web|site.conf`, "listen 83 of h 2;\n"},
		{`environments|delete|acme|E 2|--force`, ""},
		{`environments|import|acme|all/environments/E 2|--skip-conflict`, "Executing 'Create host 'h 2''"},
		{`hosts|applications|render-file|acme|E 2|h 2|web|site.conf`, "listen 83 of h 2;\n"},
	}...)
	for _, of := range [][3]string{{"applications", "web", "site.conf"}, {"distributions", "os", "ks"}} {
		noun := of[0] // whose picture is a text: with another, and without one, the client's sync breaks off
		out = append(out, once([][2]string{
			{noun + `|clone|acme|` + of[1] + `|drawn`, ""},
			{noun + `|export|acme|drawn|` + noun, "exporting drawn"},
			{noun + `|delete|acme|drawn|--force`, ""},
		}...)...)
		out = append(out, golden{do: func(c *comodit) {
			c.t.Helper()
			if err := os.WriteFile(filepath.Join(c.home, noun, "thumb"), []byte("a picture\n"), 0o600); err != nil {
				c.t.Error(err)
			}
		}})
		out = append(out, once([][2]string{
			{noun + `|import|acme|` + noun, ""},
			{noun + `|files|show-content|acme|drawn|` + of[2], "${"},
			{noun + `|sync|pull|acme|drawn|` + noun + `|--dry-run`, of[2]},
			{noun + `|sync|push|acme|drawn|` + noun + `|--dry-run`, of[2]},
		}...)...)
	}
	return out
}

// goldenEnds takes all away, and brings it back from the folder.
func goldenEnds() []golden {
	h, w := goldenHost, goldenHost+"|web"
	out := []golden{
		{line: `environments|delete|acme|Dev|--force`, want: "Dev/web1"},
		{line: `hosts|delete|` + h + `|--force`, want: "has an instance"},
		{line: `hosts|applications|uninstall|` + w + `|--force`, want: ""},
		until(`hosts|changes|list|`+h, "No entities to list"),
		{line: `hosts|changes|list-all|` + h, want: "Uninstall application web"},
		{line: `hosts|applications|list|` + h, want: "No entities to list"},
		{line: `hosts|instance|delete|` + h, want: ""},
		{line: `hosts|show|` + h, want: " State: DEFINED\n"},
		{line: `hosts|delete|` + h + `|--force`, want: ""},
		{line: `hosts|show|` + h, want: "Entity not found"},
		until(`organizations|delete|acme|--force`, ""),
	}
	return append(out, once([][2]string{
		{`organizations|show|acme`, "Entity not found"},
		{`organizations|import|all`, "Executing 'Create application context 'web''"},
		{`hosts|show|` + h, " State: DEFINED\n"},
		{`hosts|applications|render-file|acme|E 2|h 2|web|site.conf`, "listen 83 of h 2;\n"},
		{`organizations|jobs|list|acme`, "late\n"},
		{`organizations|hostgroups|show|acme|G`, "Dev/web1"},
	}...)...)
}
