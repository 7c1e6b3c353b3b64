package main

import "strings"

// goldenWorld is made first: what the others are about.
func goldenWorld() []golden {
	return once([][2]string{
		{`organizations|add|-j|{"name": "acme 1", "description": "d"}`, "Access Key: "},
		{`organizations|list`, "acme 1\n"},
		{`organizations|update|acme 1|-j|{"name": "acme", "description": "e"}`, " Name: acme\n Description: e\n"},
		{`organizations|show|acme`, " Description: e\n"},
		{`organizations|show|acme 1`, "Entity not found: acme 1"},
		{`organizations|reset-secret|acme`, ""},
		{`organizations|add|-p|-j|{"name": "full"}`, " Name: full\n"},
		{`environments|list|full`, "Default\n"},
		{`platforms|list|full`, "Demo Platform\n"},
		{`distributions|list|full`, "Demo Distribution\n"},
		{`applications|list|full`, "Wordpress\n"},
		{`organizations|delete|full|--force`, ""},
		{`organizations|show|full`, "Entity not found: full"},
		{`environments|add|acme|-j|{"name": "Dev"}`, " Name: Dev\n"},
		{`environments|add|acme|-j|{"name": "E (1)", "description": "d"}`, " Name: E (1)\n"},
		{`environments|update|acme|E (1)|-j|{"name": "E 2", "description": "e"}`, " Name: E 2\n Description: e\n"},
		{`environments|show|acme|E 2`, " Description: e\n"},
		{`environments|show|acme|E (1)`, "Entity not found"},
		{`environments|clone|acme|E 2|E 3`, ""},
		{`environments|show|acme|E 3`, " Name: E 3\n"},
		{`environments|delete|acme|E 3|--force`, ""},
		{`environments|list|acme`, "Dev\nE 2\n"},

		{`applications|add|acme|-f|web.json`, " Name: web\n"},
		{`platforms|add|acme|-f|cloud.json`, "Driver class: com.guardis.cortex.server.driver.LibvirtDriver"},
		{`distributions|add|acme|-f|os.json`, " Name: os\n"},
		{`applications|files|set-content|acme|web|site.conf|site.conf`, ""},
		{`applications|files|show-content|acme|web|site.conf`, "listen ${port} of ${_host.name};\n"},
		{`platforms|files|set-content|acme|cloud|boot [1].ipxe|boot`, ""},
		{`platforms|files|show-content|acme|cloud|boot [1].ipxe`, "##size## of ##_host.name## ${x}\n"},
		{`distributions|files|set-content|acme|os|ks|ks`, ""},
		{`distributions|files|show-content|acme|os|ks`, "lang ${lang};\n"},
	}...)
}

// goldenKits are applications, platforms and distributions with their files and parameters.
func goldenKits() []golden {
	out := once([][2]string{
		{`flavors|list`, "centos\ndebian\nfedora\nopensuse\nubuntu\n"},
		{`flavors|show|debian`, "Key: kickstartName"},
		{`platforms|add|acme|--default|--test|-j|{"name": "P 2", "driver": {"className": "x"}}`, " Name: P 2\n"},
		{`platforms|list|acme`, "P 2\ncloud\n"},
		{`platforms|show|acme|cloud`, "boot [1].ipxe"},
		{`platforms|update|acme|P 2|-j|{"name": "P (3)", "description": "new", "driver": {"className": "y"}}`, " Name: P (3)\n Description: new\n"},
		{`platforms|clone|acme|P (3)|P4`, ""},
		{`platforms|show|acme|P4`, "Driver class: y"},
		{`platforms|delete|acme|P4|--force`, ""},
		{`platforms|show|acme|P4`, "Entity not found"},
		{`platforms|images|acme|cloud`, ""},

		{`distributions|add|acme|--flavor|fedora|-j|{"name": "f"}`, "vmlinuzPath"},
		{`distributions|show|acme|f`, "vmlinuzPath"},
		{`distributions|update|acme|f|-j|{"name": "f 2", "description": "x"}`, " Description: x\n"},
		{`distributions|lock|acme|os`, ""},
		{`distributions|update|acme|os|-j|{"name": "os", "description": "x"}`, `error 409: [distribution "os" is locked`},
		{`distributions|unlock|acme|os|--force`, ""},
		{`distributions|unlock|acme|os|--force`, "distribution not locked"},
		{`distributions|clone|acme|os|os2`, ""},
		{`distributions|files|show-content|acme|os2|ks`, "lang ${lang};\n"},
		{`distributions|delete|acme|f 2|--force`, ""},
		{`distributions|list|acme`, "os\nos2\n"},

		{`applications|lock|acme|web`, ""},
		{`applications|update|acme|web|-j|{"name": "web", "description": "x"}`, `error 409: [application "web" is locked`},
		{`applications|unlock|acme|web|--force`, ""},
		{`applications|update|acme|web|-j|{"name": "web", "description": "x"}`, " Description: x\n"},
		{`applications|show|acme|web`, " Description: x\n"},
		{`applications|clone|acme|web|copy`, ""},
		{`applications|list|acme`, "copy\nweb\n"},
		{`applications|files|show-content|acme|copy|site.conf`, "listen ${port} of ${_host.name};\n"},
		{`applications|delete|acme|copy|--force`, ""},
		{`applications|show|acme|copy`, "Entity not found"},
	}...)
	for _, of := range []string{"applications|%|acme|web", "platforms|%|acme|cloud", "distributions|%|acme|os"} {
		noun, at, _ := strings.Cut(of, "%")
		named := func(name string) string { // of applications the client heads a file by its name
			if noun == "applications|" {
				return " " + name + ":\n"
			}
			return " Name: " + name + "\n"
		}
		out = append(out, once([][2]string{
			{noun + `files|add` + at + `|-j|{"name": "more", "path": "/etc/more"}`, named("more")},
			{noun + `files|list` + at, "more\n"},
			{noun + `files|show` + at + `|more`, named("more")},
			{noun + `files|update` + at + `|more|-j|{"name": "less", "path": "/etc/less"}`, named("less")},
			{noun + `files|set-content` + at + `|less|site.conf`, ""},
			{noun + `files|show-content` + at + `|less`, "listen ${port} of ${_host.name};\n"},
			{noun + `files|edit` + at + `|less`, ""},
			{noun + `files|show-content` + at + `|less`, "listen ${port} of ${_host.name};\nedited\n"},
			{noun + `files|delete` + at + `|less|--force`, ""},
			{noun + `files|show` + at + `|less`, "Entity not found"},
			{noun + `parameters|add` + at + `|-j|{"name": "P 1", "key": "p1", "value": 1}`, " Key: p1\n"},
			{noun + `parameters|list` + at, "P 1\n"},
			{noun + `parameters|update` + at + `|P 1|-j|{"name": "P 1", "key": "p1", "value": "two"}`, "two"},
			{noun + `parameters|show` + at + `|P 1`, "two"},
			{noun + `parameters|delete` + at + `|P 1|--force`, ""},
			{noun + `parameters|show` + at + `|P 1`, "Entity not found"},
		}...)...)
	}
	return out
}

// goldenSettings are settings of all that has some.
func goldenSettings() []golden {
	h := "acme|Dev|web1"
	var out []golden
	for _, of := range [][2]string{
		{"organizations|settings|%|acme", "impact"}, {"environments|settings|%|acme|Dev", "impact"}, {"hosts|settings|%|" + h, ""},
		{"hosts|applications|settings|%|" + h + "|web", ""}, {"hosts|platform|settings|%|" + h, ""}, {"hosts|distribution|settings|%|" + h, ""},
		{"platforms|settings|%|acme|cloud", ""}, {"distributions|settings|%|acme|os", ""}, {"organizations|hostgroups|settings|%|acme|group", ""},
	} {
		noun, at, _ := strings.Cut(of[0], "%")
		if strings.Contains(noun, "hostgroups") {
			out = append(out, golden{line: `organizations|hostgroups|add|acme|-j|{"name": "group", "hosts": []}`, want: "group"})
		}
		out = append(out, once([][2]string{
			{noun + `add` + at + `|-j|{"key": "c l", "value": [1]}`, " Value: [1]\n"},
			{noun + `list` + at, "c l\n"},
			{noun + `list` + at + `|--key|c l`, "c l\n"},
			{noun + `show` + at + `|c l`, " Key: c l\n"},
			{noun + `update` + at + `|c l|-j|{"key": "c l", "value": "two"}`, " Value: two\n"},
			{noun + `show` + at + `|c l`, " Value: two\n"},
			{noun + `change` + at + `|--no-delete|--force|-j|[{"key": "c l", "value": "three"}, {"key": "d", "link": "organizations/acme/settings/x", "value": 4}]`, "- Adding setting d\n"},
			{noun + `show` + at + `|c l`, " Value: three\n"},
			{noun + `show` + at + `|d`, "organizations/acme/settings/x"},
			{noun + `delete` + at + `|d|--non-handler|--force`, ""},
			{noun + `delete` + at + `|c l|--force`, ""},
			{noun + `show` + at + `|c l`, "Entity not found"},
		}...)...)
		if of[1] != "" {
			out = append(out, once([][2]string{
				{noun + `add` + at + `|--non-handler|-j|{"key": "port", "value": "82"}`, " Value: 82\n"},
				{noun + of[1] + at + `|port`, "restart service://nginx"},
				{noun + `delete` + at + `|port|--non-handler|--force`, ""},
			}...)...)
		}
	}
	return append(out, once([][2]string{
		{`organizations|settings|add|acme|-j|{"key": "pass", "value": "s3cret-1", "schema": {"type": "string", "secret": true}}`, "pass"},
		{`organizations|settings|list|acme|--secret`, "pass\n"},
		{`organizations|settings|show|acme|pass`, " Value: s3cret-1\n"},
		{`organizations|settings|show|acme|pass|--obfuscate`, " Value: ***"},
		{`organizations|settings|tree|acme`, "Environment: Dev\n"},
		{`organizations|settings|tree|acme|--key|pass`, "s3cret-1"},
		{`hosts|applications|settings|show-origin|` + h + `|web|port`, "Value: "},
		{`organizations|settings|delete|acme|pass|--force`, ""},
		{`organizations|hostgroups|delete|acme|group|--force`, ""},
	}...)...)
}

// goldenOwners are groups and keys.
func goldenOwners() []golden {
	var out []golden
	for _, of := range []string{"organizations|groups|%|acme", "environments|groups|%|acme|Dev", "hosts|groups|%|acme|Dev|web1"} {
		noun, at, _ := strings.Cut(of, "%")
		out = append(out, once([][2]string{
			{noun + `list` + at, "readonly\n"},
			{noun + `show` + at + `|users`, " Name: users\n"},
			{noun + `update` + at + `|users|-j|{"name": "users", "users": [{"username": "admin"}]}`, "admin"},
			{noun + `show` + at + `|users`, "admin"},
			{noun + `tree` + at, "Username: admin\n"},
		}...)...)
	}
	return append(out, once([][2]string{
		{`organizations|application-keys|add|acme|-j|{"name": "k", "method": "TOKEN", "group": "users"}`, " Token: "},
		{`organizations|application-keys|add|acme|-j|{"name": "k2", "method": "BASIC_AUTH", "group": "readonly"}`, " Name: k2\n"},
		{`organizations|application-keys|list|acme`, "k\nk2\n"},
		{`organizations|application-keys|show|acme|k`, " Name: k\n"},
		{`organizations|application-keys|update|acme|k|-j|{"name": "k", "description": "new", "method": "TOKEN", "group": "users"}`, " Name: k\n"},
		{`organizations|application-keys|show|acme|k|--raw`, `"description": "new"`},
		{`organizations|application-keys|reset|acme|k`, "Token"},
		{`organizations|application-keys|delete|acme|k|--force`, ""},
		{`organizations|application-keys|show|acme|k`, "Entity not found"},
	}...)...)
}

// goldenDefinitions are what is stored as it was given.
func goldenDefinitions() []golden {
	out := once([][2]string{
		{`organizations|hostgroups|add|acme|-j|{"name": "G", "hosts": [{"position": 0, "organization": "acme", "environment": "Dev", "host": "web1"}]}`, "Dev/web1"},
		{`organizations|hostgroups|list|acme`, "G\n"},
		{`organizations|hostgroups|show|acme|G`, "Dev/web1"},
		{`organizations|hostgroups|update|acme|G|-j|{"name": "G", "description": "new", "hosts": [{"position": 0, "organization": "acme", "environment": "Dev", "host": "web1"}]}`, "Description: new\n"},
		{`organizations|orchestrations|add|acme|-j|{"name": "O", "applicationsOperations": [{"application": "web", "handler": "reload", "position": 0}],` +
			` "orderedHostGroup": [{"position": 0, "hostGroup": {"name": "G"}}]}`, "web"},
		{`organizations|orchestrations|list|acme`, "O\n"},
		{`organizations|orchestrations|show|acme|O`, "Dev/web1"},
		{`organizations|orchestrations|actions|impact|acme|O`, "Dev/web1"},
		{`organizations|orchestrations|update|acme|O|-j|{"name": "O", "description": "new"}`, "Description: new\n"},
		{`organizations|orchestrations|clone|acme|O|O2`, ""},
		{`organizations|orchestrations|list|acme`, "O\nO2\n"},
		{`organizations|orchestrations|handlers|add|acme|O|-j|{"name": "h", "triggers": ["port"]}`, "port"},
		{`organizations|orchestrations|handlers|list|acme|O`, "h\n"},
		{`organizations|orchestrations|handlers|update|acme|O|h|-j|{"name": "h", "triggers": ["other"]}`, "other"},
		{`organizations|orchestrations|handlers|show|acme|O|h`, "other"},
		{`organizations|orchestrations|handlers|delete|acme|O|h|--force`, ""},
		{`organizations|orchestrations|handlers|list|acme|O`, "No entities to list"},
		{`organizations|orchestrations|delete|acme|O2|--force`, ""},
		{`organizations|orchestrations|list|acme`, "O\n"},
		{`hosts|actions|impact|acme|O`, "Handler: reload\n"},
		{`organizations|webhooks|add|acme|-j|{"name": "W", "serverName": "example.org", "path": "/"}`, "example.org"},
		{`organizations|webhooks|list|acme`, "W\n"},
		{`organizations|webhooks|update|acme|W|-j|{"name": "W", "serverName": "hook.invalid"}`, "hook.invalid"},
		{`organizations|webhooks|show|acme|W`, "hook.invalid"},
		{`organizations|webhooks|actions|impact|acme|W`, "ServerName: hook.invalid\n"},
		{`organizations|webhooks|actions|run|acme|W`, "Error (409): [the webhook gave no answer: "},
		{`organizations|webhooks|delete|acme|W|--force`, ""},
		{`organizations|webhooks|show|acme|W`, "Entity not found"},
		{`organizations|notification-channels|add|acme|-j|{"channel": "C", "value": "{}"}`, "C"},
		{`organizations|notification-channels|list|acme`, "C\n"},
		{`organizations|notification-channels|show|acme|C`, "C"},
		{`organizations|notification-channels|update|acme|C|-j|{"name": "C", "channel": "C", "value": "{\"a\": 1}"}`, "C"},
		{`organizations|notification-channels|actions|impact|acme|C`, `Value: {"a": 1}`},
		{`organizations|notification-channels|actions|run|acme|C`, "Error (409): [the value of channel \"C\" says not where to"},
		{`organizations|notification-channels|delete|acme|C|--force`, ""},
		{`organizations|notification-channels|list|acme`, "No entities to list"},
		{`applications|rpm-module|add|acme|web|-j|{"name": "nodejs", "stream": "20", "profile": "common", "enabled": true}`, "nodejs"},
		{`applications|rpm-module|list|acme|web`, "nodejs\n"},
		{`applications|rpm-module|update|acme|web|nodejs|-j|{"name": "nodejs", "stream": "22", "profile": "common", "enabled": true}`, "22"},
		{`applications|rpm-module|show|acme|web|nodejs`, "22"},
		{`applications|rpm-module|delete|acme|web|nodejs|--force`, ""},
		{`applications|gits|add|acme|web|-j|{"name": "site", "endpoint": "https://example.org/x.git", "branch": "main", "authenticationMethod": "HTTPS"}`, "site"},
		{`applications|gits|list|acme|web`, "site\n"},
		{`applications|gits|update|acme|web|site|-j|{"name": "site", "endpoint": "https://example.org/x.git", "branch": "next", "authenticationMethod": "HTTPS"}`, "next"},
		{`applications|gits|show|acme|web|site`, "next"},
		{`applications|gits|delete|acme|web|site|--force`, ""},
	}...)
	for i := range out {
		out[i].outside = strings.Contains(out[i].line, "|actions|run|")
	}
	return out
}

// goldenNotBuilt are commands of EXTENDED rows that answer 501, and say so.
func goldenNotBuilt() []golden {
	out := once([][2]string{{`app-store|show|0`, "Unable to retrieve entity"}, {`dist-store|show|0`, "Unable to retrieve entity"}}...)
	for _, line := range []string{
		`app-store|list`, `app-store|purchase|0|acme`, `dist-store|list`, `dist-store|purchase|0|acme`,
		`applications|publish|acme|web`, `distributions|publish|acme|os`,
		`hosts|actions|run|acme|Dev|web1|O`, `hosts|applications|actions|update-git|acme|Dev|web1|web|site`,
		`organizations|orchestrations|actions|run|acme|O`, `organizations|orchestrations|actions|pause|acme|O|1`, `organizations|orchestrations|actions|resume|acme|O|1`,
		`organizations|orchestrations|actions|cancel|acme|O|1`, `organizations|orchestrations|actions|continue|acme|O|1`,
		`organizations|orchestrations-logs|list|acme|O`, `organizations|orchestrations-logs|show|acme|O|1`,
		`organizations|pipelines|list|acme`, `organizations|pipelines|show|acme|p`, `organizations|pipelines|add|acme|-j|{"name": "p"}`,
		`organizations|pipelines|update|acme|p|-j|{"name": "p"}`, `organizations|pipelines|delete|acme|p|--force`, `organizations|pipelines|clone|acme|p|q`,
		`organizations|pipelines|actions|run|acme|p`, `organizations|pipelines|actions|impact|acme|p`, `organizations|pipelines|actions|pause|acme|p|1`,
		`organizations|pipelines|actions|resume|acme|p|1`, `organizations|pipelines|actions|cancel|acme|p|1`,
		`organizations|pipelines|stages|list|acme|p`, `organizations|pipelines|stages|show|acme|p|s`, `organizations|pipelines|stages|add|acme|p|-j|{"name": "s"}`,
		`organizations|pipelines|stages|update|acme|p|s|-j|{"name": "s"}`, `organizations|pipelines|stages|delete|acme|p|s|--force`,
		`organizations|pipelines|stages|steps|list|acme|p|s`, `organizations|pipelines|stages|steps|show|acme|p|s|t`,
		`organizations|pipelines|stages|steps|add|acme|p|s|-j|{"name": "t"}`, `organizations|pipelines|stages|steps|update|acme|p|s|t|-j|{"name": "t"}`,
		`organizations|pipelines|stages|steps|delete|acme|p|s|t|--force`,
		`organizations|pipelines-logs|list|acme|p`, `organizations|pipelines-logs|show|acme|p|1`,
	} {
		out = append(out, golden{line: line, want: "is not built yet"})
	}
	for _, noun := range [][2]string{{"applications", "web"}, {"distributions", "os"}} {
		for action, want := range map[string]string{"push": "is not published", "unpublish": "is not published", "update-authorized": "is not published", "pull": "is not purchased"} {
			out = append(out, golden{line: noun[0] + "|" + action + "|acme|" + noun[1], want: want})
		}
	}
	return out
}

// goldenLogs are those that the client can ask for.
func goldenLogs() []golden {
	return once([][2]string{
		{`organizations|audit-logs|acme`, " by admin\n"},
		{`organizations|agent-logs|acme`, "Dev/web1: a machine enrolled\n"},
		{`organizations|other-logs|acme`, "Dev/web1: machine: stop is done, it is STOPPED\n"},
		{`environments|audit-logs|acme|Dev`, "Dev"},
		{`environments|agent-logs|acme|Dev`, "Dev/web1: the agent is connected\n"},
		{`environments|other-logs|acme|Dev`, "Dev/web1: provisioned: the machine runs and its agent is there\n"},
		{`environments|notification-logs|acme|Dev`, "Dev/web1: applications/web/files/site.conf is not as it should be\n"},
		{`hosts|audit|acme|Dev|web1`, "web1"},
		{`hosts|agent-logs|acme|Dev|web1`, "Dev/web1: the agent is connected\n"},
		{`hosts|other-logs|acme|Dev|web1`, "Dev/web1: the agent is connected\n"},
		{`hosts|notification-logs|acme|Dev|web1`, "(Install application bad) failed: 1 of 1 tasks\n"},
	}...)
}
