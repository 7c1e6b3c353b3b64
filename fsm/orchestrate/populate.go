package orchestrate

import (
	"encoding/json"

	"github.com/muster-hq/muster/fsm/model"
	"github.com/muster-hq/muster/fsm/state"
)

// What a populated organization begins with (contract section 6).
const (
	defaultEnvironment  = "Default"
	demoPlatform        = "Demo Platform"
	demoDistribution    = "Demo Distribution"
	demoApplication     = "Wordpress"
	demoFlavor          = "debian"
	demoVirtualHost     = "wordpress.conf"
	demoVirtualHostPath = "/etc/apache2/sites-enabled/wordpress.conf"
)

// populate makes what a new organization can begin with: an environment, a platform for machines that exist, a
// distribution and an application.
func populate(tx *state.Tx, orgID string) error {
	if _, err := CreateEnvironment(tx, orgID, model.Environment{Name: defaultEnvironment}); err != nil {
		return err
	}
	p := model.Platform{Name: demoPlatform, Description: "Machines that exist already: install the agent on them", Driver: model.Driver{ClassName: model.FreeDriver}}
	if _, err := CreatePlatform(tx, orgID, p); err != nil {
		return err
	}
	d := model.Distribution{Name: demoDistribution, Description: "Debian, with the settings of its flavor"}
	if _, err := CreateDistribution(tx, orgID, d, demoFlavor); err != nil {
		return err
	}
	a, err := CreateApplication(tx, orgID, wordpress())
	if err != nil {
		return err
	}
	return PutFileContent(tx, orgID, a.ID, demoVirtualHost, []byte(wordpressHost))
}

// wordpress is the application of a populated organization, for Debian.
func wordpress() model.Application {
	text := json.RawMessage(`{"type":"string"}`)
	return model.Application{
		Name: demoApplication, Description: "A blog: Apache with WordPress, as Debian packages it",
		Packages: []model.Package{{Name: "apache2"}, {Name: "wordpress"}},
		Services: []model.Service{{Name: "apache2", Enabled: true}},
		Files: []model.File{{
			Name: demoVirtualHost, Path: demoVirtualHostPath, Owner: "root", Group: "root", Mode: "644",
			Template: &model.Template{Name: demoVirtualHost, Delimiter: &model.Delimiter{Start: "${", End: "}"}},
		}},
		Parameters: []model.Parameter{
			{Name: "Server name", Key: "wp_server_name", Value: json.RawMessage(`"blog.example.org"`), Schema: text},
			{Name: "Port", Key: "wp_port", Value: json.RawMessage(`80`), Schema: json.RawMessage(`{"type":"integer"}`)},
		},
		Handlers: []model.Handler{{Name: "site", On: []string{"wp_server_name", "wp_port"}, Do: []model.Action{
			{Action: "update", Resource: "file://" + demoVirtualHost}, {Action: "restart", Resource: "service://apache2"},
		}}},
	}
}

const wordpressHost = `<VirtualHost *:${wp_port}>
    ServerName ${wp_server_name}
    DocumentRoot /usr/share/wordpress
    <Directory /usr/share/wordpress>
        Options FollowSymLinks
        AllowOverride Limit Options FileInfo
        DirectoryIndex index.php
        Require all granted
    </Directory>
</VirtualHost>
`
