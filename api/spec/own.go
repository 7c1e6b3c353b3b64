package spec

// own are our rows: what the contract leaves open (users, enrolment, the cluster), below the same root.
func own() []Section {
	return []Section{
		{Own, "Users", []Row{
			{GET, "/users/", "users.list", Built, "", "", "list of User"},
			{POST, "/users/", "users.create", Built, "", "UserAccount", "User"},
			{GET, "/users/{name}", "users.show", Built, "", "", "User"},
			{PUT, "/users/{name}", "users.update", Built, "", "User", "User"},
			{PUT, "/users/{name}/password", "users.password", Built, "", "Password", "non-empty JSON"},
			{DELETE, "/users/{name}", "users.delete", Built, "", "", "ignored"},
			{DELETE, "/users/{name}/totp", "users.totp.delete", Built, "", "", "ignored"},
			{GET, "/users/{name}/sessions/", "users.sessions.list", Built, "", "", "list of Session"},
			{DELETE, "/users/{name}/sessions/", "users.sessions.delete", Built, "", "", "ignored"},
		}},
		{Own, "Agents", []Row{
			{GET, "{E}/enroltokens/", "enroltokens.list", Built, "", "", "list of EnrolToken"},
			{POST, "{E}/enroltokens/", "enroltokens.create", Built, "", "EnrolTokenRequest", "EnrolToken with its token, this once"},
			{DELETE, "{E}/enroltokens/{id}", "enroltokens.delete", Built, "", "", "ignored"},
		}},
		{Own, "Machines", []Row{
			{POST, "{H}/instance/token", "host.instance.token", Built, "", "empty", "EnrolToken with its token, as long as it is not used"},
			{GET, "{O}/machines/", "machines.list", Built, "", "", "list of Machine: what drivers are to do"},
			{PUT, "{O}/machines/{id}/_retry", "machines.retry", Built, "", "empty", "Machine"},
			{DELETE, "{O}/machines/{id}", "machines.delete", Built, "", "", "ignored; leaves the machine alone"},
		}},
		{Own, "One-time addresses of rendered files", []Row{
			{GET, "/links/{token...}", "links.show", Built, "", "", "raw text; needs no credentials, works once"},
		}},
		{Own, "Organizations as files", []Row{
			{POST, "{O}/_export", "organizations.export", Built, "", "ExportRequest", "an organization's file, as bytes"},
			{POST, "/organizations/_import", "organizations.import", Built, "name=NAME", "an organization's file, as bytes", "ImportResult"},
		}},
		{Own, "Templates", []Row{
			{POST, "{H}/_preview", "host.preview", Built, "", "Preview", "raw text; secrets masked for who may not see them"},
		}},
		{Own, "Settings", []Row{
			{GET, "{S}/settings/{key}/explain", "settings.explain.show", Built, "obfuscate", "", "Explanation: why the setting has its value there"},
		}},
		{Own, "Changes", []Row{
			{GET, "{O}/plans/", "plans.list", Built, "", "", "list of PendingPlan: writes whose changes are being planned"},
			{GET, "{O}/plans/{plan}", "plans.show", Built, "", "", "PlanProgress: how far the changes are that a write caused"},
			{PUT, "{H}/changes/{num}/_cancel", "host.changes.cancel", Built, "", "empty", "Change"},
			{PUT, "{H}/changes/{num}/_retry", "host.changes.retry", Built, "skip_interrupted=true or false", "empty", "Change"},
		}},
		{Own, "Events", []Row{
			{GET, "/events", "events.list", Built, "after, wait, limit", "", "EventList, or a stream of Event"},
			{GET, "{O}/events", "organizations.events.list", Built, "after, wait, limit", "", "EventList, or a stream of Event"},
		}},
		{Own, "Deliveries of webhooks and notification channels", []Row{
			{GET, "{O}/webhooks/{hook}/deliveries/", "webhooks.deliveries.list", Built, "since, until, text, order, limit, cursor", "", "list of Delivery, with how the webhook does"},
			{GET, "{O}/notifications/{chan}/deliveries/", "notifications.deliveries.list", Built, "since, until, text, order, limit, cursor", "", "list of Delivery, with how the channel does"},
		}},
		{Own, "Audit", []Row{
			{GET, "/audit/", "site.audit.list", Built, "since, until, actor, kind, action, object, text, read, order, limit, cursor", "", "list of AuditLog"},
			{GET, "/audit/_export", "site.audit.export", Built, "as of the list, but limit and order", "", "JSON lines of AuditLog"},
			{GET, "{O}/audit/_export", "audit.export", Built, "as of the list, but limit and order", "", "JSON lines of AuditLog"},
		}},
		{Own, "Keys at rest", []Row{
			{GET, "{O}/key", "organizations.key.show", Built, "", "", "SealKey"},
			{POST, "{O}/key", "organizations.key.rotate", Built, "", "empty", "SealKey"},
		}},
	}
}

// ownOfSite are our additions that no organization is the place of, but for its quota.
func ownOfSite() []Section {
	return []Section{
		{Own, "Quotas", []Row{
			{GET, "{O}/quota", "quota.show", Built, "", "", "QuotaUse"},
			{GET, "/quotas/", "quotas.list", Built, "", "", "list of QuotaUse"},
			{GET, "/quotas/{name}", "quotas.show", Built, "", "", "QuotaUse"},
			{PUT, "/quotas/{name}", "quotas.update", Built, "", "Quota", "QuotaUse"},
			{DELETE, "/quotas/{name}", "quotas.delete", Built, "", "", "ignored; the default holds again"},
		}},
		{Own, "Documentation", []Row{
			{GET, "/openapi.json", "openapi.show", Built, "", "", "this table as OpenAPI 3.1; needs no credentials"},
			{GET, "/docs", "docs.show", Built, "", "", "a page for people; needs no credentials"},
			{GET, "/docs/page.js", "docs.script.show", Built, "", "", "a script of the page; needs no credentials"},
			{GET, "/docs/page.css", "docs.style.show", Built, "", "", "a style sheet of the page; needs no credentials"},
		}},
		{Own, "Cluster", []Row{
			{GET, "/cluster", "cluster.show", Built, "", "", "ClusterStatus"},
			{POST, "/cluster/tokens", "cluster.token", Built, "", "JoinTokenRequest", "JoinToken with its token, this once"},
			{GET, "/cluster/tokens", "cluster.tokens.list", Built, "", "", "list of JoinToken"},
			{DELETE, "/cluster/tokens/{id}", "cluster.tokens.delete", Built, "", "", "non-empty JSON"},
			{POST, "/cluster/leader", "cluster.transfer", Built, "", "LeaderRequest", "non-empty JSON"},
			{POST, "/cluster/key", "cluster.key.rotate", Built, "", "empty", "non-empty JSON"},
			{POST, "/cluster/gossipkey", "cluster.rotate", Built, "", "empty", "non-empty JSON"},
			{POST, "/cluster/leave", "cluster.leave", Built, "", "empty", "non-empty JSON"},
			{DELETE, "/cluster/members/{name}", "cluster.remove", Built, "", "", "non-empty JSON"},
			{POST, "/cluster/join", "cluster.join", Built, "", "JoinRequest", "non-empty JSON"},
			{GET, "/cluster/snapshot", "cluster.snapshot.save", Built, "", "", "a snapshot, as bytes"},
			{PUT, "/cluster/snapshot", "cluster.snapshot.restore", Built, "cluster=ID, keys=BYTES", "a file of cluster keys of so many bytes, if any, and a snapshot, as bytes", "non-empty JSON"},
		}},
	}
}
