package model

import (
	"encoding/json"
	"reflect"
	"strings"
)

// Setting is the document of contract section 3.2, embedded in its owners and alone.
type Setting struct {
	UUID     string          `json:"uuid,omitempty"`
	Version  int             `json:"version,omitempty"`
	Key      string          `json:"key"`
	Value    json.RawMessage `json:"value,omitempty"` // any JSON; for a link its default
	Link     string          `json:"link,omitempty"`
	Property string          `json:"property,omitempty"`
	Schema   json.RawMessage `json:"schema,omitempty"` // kept when sent; else that of the parameter with the key
}

// SettingKind says where a setting's value comes from.
type SettingKind string

// The kinds of a setting.
const (
	SettingSimple   SettingKind = "simple"
	SettingLink     SettingKind = "link"
	SettingProperty SettingKind = "property"
)

// Kind is decided by which of link and property is given; with both, or none, it is simple (contract
// section 3.2).
func (s *Setting) Kind() SettingKind { return kindOf(s.Link, s.Property) }

func kindOf(link, property string) SettingKind {
	switch {
	case property != "" && link == "":
		return SettingProperty
	case link != "" && property == "":
		return SettingLink
	}
	return SettingSimple
}

// Validate refuses a setting that could never be resolved. Errors are Invalid.
func (s *Setting) Validate() error {
	if err := checkKey("setting", s.Key); err != nil {
		return err
	}
	if s.Kind() == SettingLink {
		if _, err := ParseLink(s.Link); err != nil {
			return err
		}
	}
	if err := checkSchema(s.Schema); err != nil {
		return Errorf(Invalid, "setting %q: %v", s.Key, err)
	}
	return nil
}

func checkKey(kind, key string) error {
	if key == "" {
		return Errorf(Invalid, "%s: key is missing: give one", kind)
	}
	if strings.HasPrefix(key, "_") {
		return Errorf(Invalid, "%s: key %q begins with _, which is reserved: choose another", kind, key)
	}
	if err := CheckName(kind, key); err != nil {
		return Errorf(Invalid, "%s", strings.Replace(err.Error(), ": name ", ": key ", 1))
	}
	return nil
}

// LinkTarget is a parsed link: a setting key at a level. Empty names mean a level above.
type LinkTarget struct {
	Organization, Environment, Host, Application, Key string
	Platform, Distribution, Hostgroup                 string // of the organization; at most one, and then no environment
	Context                                           string // LinkPlatform or LinkDistribution of the host
}

// The contexts of a host that have no name in a link.
const (
	LinkPlatform     = "platform"
	LinkDistribution = "distribution"
)

// ParseLink reads the path of a setting, such as organizations/o/environments/e/settings/k (contract
// section 3.2). Errors are Invalid.
func ParseLink(link string) (LinkTarget, error) {
	bad := Errorf(Invalid, "link %q is not the path of a setting: write organizations/ORG[/environments/ENV[/hosts/HOST[/applications/APP]]]/settings/KEY, "+
		"or name platforms/P, distributions/D or hostgroups/G of the organization, or platform or distribution of the host", link)
	parts := strings.Split(link, "/")
	var t LinkTarget
	take := func(word string, into *string) {
		if len(parts) > 2 && parts[0] == word && parts[1] != "" {
			*into, parts = parts[1], parts[2:]
		}
	}
	take("organizations", &t.Organization)
	if t.Organization == "" {
		return LinkTarget{}, bad
	}
	take("environments", &t.Environment)
	if t.Environment != "" {
		take("hosts", &t.Host)
	} else if len(parts) == 4 {
		take("platforms", &t.Platform)
		take("distributions", &t.Distribution)
		take("hostgroups", &t.Hostgroup)
	}
	if t.Host != "" {
		take("applications", &t.Application)
		if len(parts) == 3 && t.Application == "" && (parts[0] == LinkPlatform || parts[0] == LinkDistribution) {
			t.Context, parts = parts[0], parts[1:]
		}
	}
	if len(parts) != 2 || parts[0] != "settings" || parts[1] == "" {
		return LinkTarget{}, bad
	}
	t.Key = parts[1]
	return t, nil
}

// String writes the path that ParseLink reads.
func (t LinkTarget) String() string {
	s := "organizations/" + t.Organization
	for _, p := range [][2]string{{"platforms", t.Platform}, {"distributions", t.Distribution}, {"hostgroups", t.Hostgroup},
		{"environments", t.Environment}, {"hosts", t.Host}, {"applications", t.Application}} {
		if p[1] != "" {
			s += "/" + p[0] + "/" + p[1]
		}
	}
	if t.Context != "" {
		s += "/" + t.Context
	}
	return s + "/settings/" + t.Key
}

// Schema is what Muster reads of a schema; the document is kept whole.
type Schema struct {
	Type      string            `json:"type"`
	Multiline bool              `json:"multiline"`
	Secret    bool              `json:"secret"`
	Final     bool              `json:"final"`
	Password  bool              `json:"password"` // an older word for secret (contract section 3.2)
	Enum      []json.RawMessage `json:"enum"`
	Pattern   string            `json:"pattern"`
}

// ParseSchema reads a schema; none is the zero schema. Errors are Invalid.
func ParseSchema(raw json.RawMessage) (Schema, error) {
	if len(raw) == 0 || string(raw) == "null" {
		return Schema{}, nil
	}
	var s Schema
	if err := json.Unmarshal(raw, &s); err != nil {
		return s, Errorf(Invalid, "schema: %v", decodeError(raw, err))
	}
	s.Secret = s.Secret || s.Password
	return s, nil
}

// checkSchema refuses a schema that does not read, or has a word that differs from one of ours by case only: it would count for
// us, and not for who checks values.
func checkSchema(raw json.RawMessage) error {
	if _, err := ParseSchema(raw); err != nil {
		return err
	}
	if m := findMisnamed(raw, reflect.TypeFor[Schema](), 0); m != nil {
		return Errorf(Invalid, "schema has %q, which is %q but for its case: write %q, or leave it out", m.key, m.name, m.name)
	}
	return nil
}

// Level is a level that owns settings and groups.
type Level string

// The levels, from far to near.
const (
	LevelOrganization Level = "organization"
	LevelEnvironment  Level = "environment"
	LevelHost         Level = "host"
	LevelContext      Level = "context" // an application on a host

	// The further ones own settings, but no groups. Each is the name of the table of its rows, as above.
	LevelPlatformContext     Level = "platformcontext"     // the platform of a host
	LevelDistributionContext Level = "distributioncontext" // the distribution of a host
	LevelPlatform            Level = "platform"
	LevelDistribution        Level = "distribution"
	LevelHostgroup           Level = "hostgroup"
)

// Owner names what owns settings or groups. It always carries its organization: nothing refers across
// organizations.
type Owner struct {
	Level Level  `json:"level"`
	OrgID string `json:"orgId"`
	ID    string `json:"id"`
}

// SettingRow is what is kept of a setting.
type SettingRow struct {
	ID       string          `json:"id"`
	Owner    Owner           `json:"owner"`
	Name     string          `json:"key"`
	Version  int             `json:"version"`
	Value    json.RawMessage `json:"value,omitempty"`
	Link     string          `json:"link,omitempty"`
	Property string          `json:"property,omitempty"`
	Schema   json.RawMessage `json:"schema,omitempty"`
}

// Table names the table of settings.
func (*SettingRow) Table() string { return "setting" }

// Key is made of the owner's id and the setting's key.
func (s *SettingRow) Key() string { return SettingKey(s.Owner.ID, s.Name) }

// Ranges: the settings of the owner; links and properties of the organization, since their values
// change with others.
func (s *SettingRow) Ranges() []string {
	r := []string{SettingsOf(s.Owner.ID)}
	switch s.Kind() {
	case SettingLink:
		r = append(r, LinksOf(s.Owner.OrgID))
	case SettingProperty:
		r = append(r, PropertiesOf(s.Owner.OrgID))
	}
	return r
}

// Parent is the owner.
func (s *SettingRow) Parent() (table, key string) { return string(s.Owner.Level), s.Owner.ID }

// Kind is the kind of the setting.
func (s *SettingRow) Kind() SettingKind { return kindOf(s.Link, s.Property) }

// SettingKey is the key of the row of an owner's setting.
func SettingKey(ownerID, key string) string { return ownerID + "/" + key }

// SettingsOf is the range of an owner's settings.
func SettingsOf(ownerID string) string { return "owner/" + ownerID }

// LinksOf is the range of an organization's link settings, at all levels.
func LinksOf(orgID string) string { return "links/" + orgID }

// PropertiesOf is the range of an organization's property settings, at all levels.
func PropertiesOf(orgID string) string { return "properties/" + orgID }

// OriginSetting tells the effective value of a setting and where it comes from (contract section 3.2).
type OriginSetting struct {
	Key    string          `json:"key"`
	Value  json.RawMessage `json:"value,omitempty"`
	Schema json.RawMessage `json:"schema,omitempty"`
	From   string          `json:"from"` // address of the owner, or of the parameter for a default
	Secret bool            `json:"-"`    // by any schema on the way to the value, also through links
	Owner  Owner           `json:"-"`    // who has the setting; zero for a default
}

// SettingTree holds all settings of an organization (contract section 3.2).
type SettingTree struct {
	Organization  string                `json:"organization"`
	Settings      []Setting             `json:"settings"`
	Environments  []EnvironmentSetting  `json:"environments"`
	Distributions []DistributionSetting `json:"distributions"`
	Platforms     []PlatformSetting     `json:"platforms"`
}

// EnvironmentSetting is the part of a SettingTree below an environment.
type EnvironmentSetting struct {
	Environment string        `json:"environment"`
	Settings    []Setting     `json:"settings"`
	Hosts       []HostSetting `json:"hosts"`
}

// HostSetting is the part of a SettingTree below a host.
type HostSetting struct {
	Host         string               `json:"host"`
	Settings     []Setting            `json:"settings"`
	Applications []ApplicationSetting `json:"applications"`
	Distribution *DistributionSetting `json:"distribution"`       // null without one
	Platform     *PlatformSetting     `json:"platform,omitempty"` // ours: the contract has none here
}

// DistributionSetting is the part of a SettingTree at a distribution, or at the one of a host.
type DistributionSetting struct {
	Distribution string    `json:"distribution"`
	Settings     []Setting `json:"settings"`
}

// PlatformSetting is the part of a SettingTree at a platform, or at the one of a host.
type PlatformSetting struct {
	Platform string    `json:"platform"`
	Settings []Setting `json:"settings"`
}

// ApplicationSetting is the part of a SettingTree at an application context.
type ApplicationSetting struct {
	Application string    `json:"application"`
	Settings    []Setting `json:"settings"`
}

// SettingImpact tells what a change of a setting would touch (contract section 3.2).
type SettingImpact struct {
	SettingHandlerContexts         []SettingHandlerContext `json:"settingHandlerContexts"`
	OtherResources                 []string                `json:"otherResources"` // addresses, such as organizations/o/settings/k, or those of rendered files
	OrchestrationHandlerExecutions []struct{}              `json:"orchestrationHandlerExecution"`
	PackageResources               []string                `json:"packageResources"`
	RpmModuleResources             []string                `json:"rpmModuleResources"`
	NoAccessToAllResources         bool                    `json:"noAccessToAllResources"` // ours: something is left out
}

// SettingHandlerContext is the part of a SettingImpact at one application.
type SettingHandlerContext struct {
	Application            string            `json:"application"`
	Hosts                  []ImpactedHost    `json:"hosts"`
	Handlers               []ImpactedHandler `json:"handlers"`
	NoAccessToAllResources bool              `json:"noAccessToAllResources"`
}

// ImpactedHost names a host of a SettingImpact.
type ImpactedHost struct {
	Name        string `json:"name"`
	Environment string `json:"environment"`
}

// ImpactedHandler is a handler of a SettingImpact.
type ImpactedHandler struct {
	Do []Action `json:"do"`
}
