// Package spec is the REST API as data: the table of its routes, and the shapes on the wire that are
// not nouns of fsm/model. The server, the client, the tests and the reference page are all made from it.
package spec

import (
	"slices"
	"strings"
)

// The methods of the table.
const (
	GET    = "GET"
	POST   = "POST"
	PUT    = "PUT"
	DELETE = "DELETE"
)

// Part says where a row is described.
type Part string

// The parts of the table.
const (
	Core     Part = "CORE"     // contract section 2.1
	Extended Part = "EXTENDED" // contract section 2.2
	Own      Part = "OWN"      // ours, in the same style of paths
)

// State says what a row answers.
type State string

// The states of a row.
const (
	Built   State = "built"     // it does what the contract says
	Empty   State = "empty"     // nothing of the kind can be made yet, so the list is empty
	Planned State = "not built" // 501, and the answer names the row
)

// Row is one line of the contract. Path uses its short names: {O}, {E}, {H}, and {S}, {T}, {R}, {K}
// for rows that exist at several levels.
type Row struct {
	Method, Path, Name  string
	State               State
	Query, Body, Answer string // as the contract words them, for the reference page
}

// Section is one titled table of the contract.
type Section struct {
	Part  Part
	Title string
	Rows  []Row
}

// Sections is the whole table, in the order of the contract, ours at the end.
func Sections() []Section { return slices.Concat(core(), extended(), own(), ownOfSite(), account()) }

// Level is one meaning of a row's placeholder.
type Level struct {
	Name string // "organization", "environment", "host", "context", "application", ...
	Path string // what the placeholder stands for
}

const (
	orgPath  = "/organizations/{org}"
	envPath  = orgPath + "/environments/{env}"
	hostPath = envPath + "/hosts/{host}"
)

func orgLevel() Level         { return Level{"organization", orgPath} }
func envLevel() Level         { return Level{"environment", envPath} }
func hostLevel() Level        { return Level{"host", hostPath} }
func contextLevel() Level     { return Level{"context", hostPath + "/applications/{app}"} }
func applicationLevel() Level { return Level{"application", orgPath + "/applications/{app}"} }
func platformLevel() Level    { return Level{"platform", orgPath + "/platforms/{plat}"} }
func distLevel() Level        { return Level{"distribution", orgPath + "/distributions/{dist}"} }

// levels are the concrete places of a row. A row without a placeholder has one, without a name.
func (r Row) levels() (placeholder string, at []Level) {
	switch {
	case strings.HasPrefix(r.Path, "{S}"):
		if strings.HasSuffix(r.Path, "/impact") || strings.HasSuffix(r.Path, "/application_properties/") {
			return "{S}", []Level{orgLevel(), envLevel(), hostLevel()}
		}
		return "{S}", []Level{orgLevel(), envLevel(), hostLevel(), contextLevel(),
			{"platform context", hostPath + "/platform"}, {"distribution context", hostPath + "/distribution"},
			platformLevel(), distLevel()}
	case strings.HasPrefix(r.Path, "{T}/thumb"):
		return "{T}", []Level{applicationLevel(), distLevel()}
	case strings.HasPrefix(r.Path, "{T}"):
		return "{T}", []Level{applicationLevel(), platformLevel(), distLevel()}
	case strings.HasPrefix(r.Path, "{R}"):
		return "{R}", []Level{orgLevel(), envLevel(), hostLevel(),
			{"hostgroup", orgPath + "/hostgroups/{hg}"}}
	case strings.Contains(r.Path, "{K}"):
		return "{K}", []Level{{"applications", "applications"}, {"distributions", "distributions"}}
	}
	return "", []Level{{}}
}

// Route is a concrete endpoint: a row at one level.
type Route struct {
	Method  string
	Pattern string // from the API root, with {name} for what varies; {id...} takes the rest
	Name    string // of the row; the same at every level
	Level   string // "" where the row has one level
	Part    Part
	Section string
	State   State
	Status  int // of success
	Row     Row
}

// Routes expands the table to its concrete endpoints.
func Routes() []Route {
	var all []Route
	for _, s := range Sections() {
		for _, row := range s.Rows {
			placeholder, at := row.levels()
			for _, l := range at {
				all = append(all, Route{
					Method: row.Method, Pattern: pattern(row.Path, placeholder, l.Path), Name: row.Name, Level: l.Name,
					Part: s.Part, Section: s.Title, State: row.State, Status: row.Status(), Row: row,
				})
			}
		}
	}
	return all
}

func pattern(path, placeholder, value string) string {
	if placeholder != "" {
		path = strings.Replace(path, placeholder, value, 1)
	}
	path = strings.NewReplacer("{O}", orgPath, "{E}", envPath, "{H}", hostPath).Replace(path)
	// A compliance identifier's last part may contain "/" (contract section 4.4).
	if i := strings.Index(path, "/compliance/applications/{app}/"); i >= 0 {
		path = path[:len(path)-1] + "...}"
	}
	return path
}

// Status is the status of success (contract section 1.4): 201 for what is created, 204 for DELETE, else
// 200, with 202 where the published client insists on it.
func (r Row) Status() int {
	verb := r.Name[strings.LastIndexByte(r.Name, '.')+1:]
	switch {
	case strings.Contains(r.Answer, "must be 202"):
		return 202
	case strings.Contains(r.Answer, "must be 200"):
		return 200
	case strings.HasPrefix(r.Answer, "302 "):
		return 302
	case r.Method == DELETE:
		return 204
	case r.Method == POST && (verb == "create" || strings.HasPrefix(r.Path, "{H}/") && verb == "set"):
		return 201
	}
	return 200
}

// Shown is the path as people read it: with the short names of the contract put back.
func (r Route) Shown() string {
	return strings.NewReplacer(hostPath, "{H}", envPath, "{E}", orgPath, "{O}").Replace(r.Pattern)
}
