package spec

// core is contract section 2.1: the CORE part, row by row and in the order of the page.
func core() []Section {
	return []Section{
		{Core, "Account", coreAccount()},
		{Core, "Organizations and access", coreOrganizations()},
		{Core, "Settings", coreSettings()},
		{Core, "Environments", coreEnvironments()},
		{Core, "Hosts", coreHosts()},
		{Core, "Contexts", coreContexts()},
		{Core, "Live actions on a host", coreLiveActionsOnAHost()},
		{Core, "Instance", coreInstance()},
		{Core, "Changes and compliance", coreChanges()},
		{Core, "Logs", coreLogs()},
		{Core, "Platforms", corePlatforms()},
		{Core, "Distributions and flavors", coreDistributions()},
		{Core, "Applications", coreApplications()},
		{Core, "Files and parameters", coreFiles()},
		{Core, "Jobs", coreJobs()},
	}
}

func coreAccount() []Row {
	return []Row{
		{GET, "/account/_verify", "account.verify", Built, "", "", `{"jwtToken": "<text>"}`},
	}
}

func coreOrganizations() []Row {
	return []Row{
		{GET, "/organizations/", "organizations.list", Built, "", "", "list of Organization"},
		{POST, "/organizations/", "organizations.create", Built, "populate=true or false", "Organization", "Organization"},
		{GET, "/organizations/{org}", "organizations.show", Built, "secret_only, no_secret, obfuscate", "", "Organization"},
		{PUT, "/organizations/{org}", "organizations.update", Built, "force", "Organization", "Organization"},
		{PUT, "{O}/", "organizations.rename", Built, "", "Organization", "Organization"},
		{DELETE, "/organizations/{org}", "organizations.delete", Built, "", "", "ignored"},
		{POST, "{O}/access", "access.set", Built, "", "empty", "non-empty JSON"},
		{GET, "{O}/groups/", "groups.list", Built, "", "", "list of Group"},
		{GET, "{O}/groups/{group}", "groups.show", Built, "secret_only, no_secret, obfuscate", "", "Group"},
		{PUT, "{O}/groups/{group}", "groups.update", Built, "force", "Group", "Group"},
		{GET, "{O}/groups/tree", "groups.tree.show", Built, "", "", "GroupTree"},
		{GET, "{E}/groups/", "environment.groups.list", Built, "", "", "list of Group"},
		{GET, "{E}/groups/{group}", "environment.groups.show", Built, "secret_only, no_secret, obfuscate", "", "Group"},
		{PUT, "{E}/groups/{group}", "environment.groups.update", Built, "force", "Group", "Group"},
		{GET, "{E}/groups/tree", "environment.groups.tree.show", Built, "", "", "GroupTree"},
		{GET, "{H}/groups/", "host.groups.list", Built, "", "", "list of Group"},
		{GET, "{H}/groups/{group}", "host.groups.show", Built, "secret_only, no_secret, obfuscate", "", "Group"},
		{PUT, "{H}/groups/{group}", "host.groups.update", Built, "force", "Group", "Group"},
		{GET, "{H}/groups/tree", "host.groups.tree.show", Built, "", "", "GroupTree"},
		{GET, "{O}/applicationkeys/", "applicationkeys.list", Built, "", "", "list of ApplicationKey"},
		{POST, "{O}/applicationkeys/", "applicationkeys.create", Built, "", "ApplicationKey", "ApplicationKey"},
		{GET, "{O}/applicationkeys/{key}", "applicationkeys.show", Built, "secret_only, no_secret, obfuscate", "", "ApplicationKey"},
		{PUT, "{O}/applicationkeys/{key}", "applicationkeys.update", Built, "force", "ApplicationKey", "ApplicationKey"},
		{PUT, "{O}/applicationkeys/{key}/_reset", "applicationkeys.reset", Built, "", "empty", "ApplicationKey"},
		{DELETE, "{O}/applicationkeys/{key}", "applicationkeys.delete", Built, "", "", "ignored"},
	}
}

func coreSettings() []Row {
	return []Row{
		{GET, "{S}/settings/", "settings.list", Built, "secret_only, no_secret, obfuscate, key", "", "list of Setting"},
		{POST, "{S}/settings/", "settings.create", Built, "trigger_orchestration_handler, trigger_application_handler (true/false text); populate, default, test, flavor if given", "Setting", "Setting"},
		{GET, "{S}/settings/{key}", "settings.show", Built, "secret_only, no_secret, obfuscate", "", "Setting"},
		{PUT, "{S}/settings/{key}", "settings.update", Built, "force, trigger_orchestration_handler, trigger_application_handler", "Setting", "Setting"},
		{DELETE, "{S}/settings/{key}", "settings.delete", Built, "trigger_orchestration_handler, trigger_application_handler", "", "ignored"},
		{PUT, "{S}/settings/", "settings.bulk", Built, "no_delete=true or false", `{"newOrUpdatedSettings": [Setting, ...]}`, "non-empty JSON"},
		{GET, "{S}/settings/{key}/impact", "settings.impact.show", Built, "", "", "SettingImpact"},
		{GET, "{O}/tree/settings/", "tree.settings.list", Built, "secret_only, no_secret, key", "", "SettingTree"},
		{GET, "{H}/applications/{app}/origin-settings/{key}", "host.applications.origin-settings.show", Built, "", "", "OriginSetting"},
		{GET, "{S}/application_properties/", "application_properties.list", Built, "secret_only, no_secret, obfuscate, key", "", "list of ResourceProperty"},
	}
}

func coreEnvironments() []Row {
	return []Row{
		{GET, "{O}/environments/", "environments.list", Built, "", "", "list of Environment"},
		{POST, "{O}/environments/", "environments.create", Built, "", "Environment", "Environment"},
		{GET, "{O}/environments/{env}", "environments.show", Built, "secret_only, no_secret, obfuscate", "", "Environment"},
		{PUT, "{O}/environments/{env}", "environments.update", Built, "force", "Environment", "Environment"},
		{PUT, "{E}/", "environments.rename", Built, "", "Environment", "Environment"},
		{DELETE, "{O}/environments/{env}", "environments.delete", Built, "", "", "ignored"},
		{PUT, "{E}/_clone", "environments.clone", Built, "name", "empty", "Environment"},
	}
}

func coreHosts() []Row {
	return []Row{
		{GET, "{E}/hosts/", "hosts.list", Built, "", "", "list of Host"},
		{POST, "{E}/hosts/", "hosts.create", Built, "", "Host", "Host"},
		{GET, "{E}/hosts/{host}", "hosts.show", Built, "secret_only, no_secret, obfuscate", "", "Host"},
		{PUT, "{E}/hosts/{host}", "hosts.update", Built, "force", "Host", "Host"},
		{PUT, "{H}/", "hosts.rename", Built, "", "Host", "Host"},
		{DELETE, "{E}/hosts/{host}", "hosts.delete", Built, "", "", "ignored"},
		{PUT, "{H}/_clone", "hosts.clone", Built, "", "empty", "Host"},
	}
}

func coreContexts() []Row {
	return []Row{
		{GET, "{H}/applications/", "host.applications.list", Built, "", "", "list of ApplicationContext"},
		{POST, "{H}/applications/", "host.applications.create", Built, "", "ApplicationContext", "ApplicationContext"},
		{GET, "{H}/applications/{app}", "host.applications.show", Built, "secret_only, no_secret, obfuscate", "", "ApplicationContext"},
		{PUT, "{H}/applications/{app}", "host.applications.update", Built, "force", "ApplicationContext", "ApplicationContext"},
		{DELETE, "{H}/applications/{app}", "host.applications.delete", Built, "trigger_* flags", "", "ignored"},
		{GET, "{H}/platform/", "host.platform.show", Built, "secret_only, no_secret, obfuscate", "", "PlatformContext"},
		{POST, "{H}/platform/", "host.platform.set", Built, "", "PlatformContext", "PlatformContext"},
		{DELETE, "{H}/platform/", "host.platform.delete", Built, "", "", "ignored"},
		{GET, "{H}/distribution/", "host.distribution.show", Built, "secret_only, no_secret, obfuscate", "", "DistributionContext"},
		{POST, "{H}/distribution/", "host.distribution.set", Built, "", "DistributionContext", "DistributionContext"},
		{DELETE, "{H}/distribution/", "host.distribution.delete", Built, "", "", "ignored"},
		{GET, "{H}/applications/{app}/files/{file}", "host.applications.files.show", Built, "", "", "raw text"},
		{GET, "{H}/platform/files/{file}", "host.platform.files.show", Built, "", "", "raw text"},
		{GET, "{H}/distribution/files/{file}", "host.distribution.files.show", Built, "", "", "raw text"},
		{GET, "{H}/applications/{app}/files/{file}/link", "host.applications.files.link.show", Built, "short=True or False", "", `{"url": "..."}`},
		{GET, "{H}/platform/files/{file}/link", "host.platform.files.link.show", Built, "short", "", `{"url": "..."}`},
		{GET, "{H}/distribution/files/{file}/link", "host.distribution.files.link.show", Built, "short", "", `{"url": "..."}`},
	}
}

func coreLiveActionsOnAHost() []Row {
	return []Row{
		{PUT, "{H}/applications/{app}/handler/{handler}/_run", "host.applications.handler.run", Built, "", "empty", "plain text: key of the queued change"},
		{PUT, "{H}/applications/{app}/files/{file}/_update", "host.applications.files.update", Built, "", "empty", "ignored"},
		{PUT, "{H}/applications/{app}/services/{svc}/_restart", "host.applications.services.restart", Built, "", "empty", "ignored"},
		{PUT, "{H}/applications/{app}/services/{svc}/_update", "host.applications.services.update", Built, "", "empty", "ignored"},
		{PUT, "{H}/applications/{app}/services/{svc}/_enable", "host.applications.services.enable", Built, "", "empty", "ignored"},
		{PUT, "{H}/applications/{app}/services/{svc}/_disable", "host.applications.services.disable", Built, "", "empty", "ignored"},
		{PUT, "{H}/applications/{app}/packages/{pkg}/_install", "host.applications.packages.install", Built, "release", "empty", "ignored"},
		{PUT, "{H}/applications/{app}/packages/{pkg}/_update", "host.applications.packages.update", Built, "release", "empty", "ignored"},
	}
}

func coreInstance() []Row {
	return []Row{
		{POST, "{H}/instance/", "host.instance.set", Built, "", "{}", "Instance"},
		{POST, "{H}/instance/properties", "host.instance.properties.set", Built, "", "list of {key, value}", "Instance"},
		{GET, "{H}/instance/", "host.instance.show", Built, "secret_only, no_secret, obfuscate", "", "Instance"},
		{DELETE, "{H}/instance/", "host.instance.delete", Built, "", "", "ignored"},
		{GET, "{H}/instance/vnc", "host.instance.vnc.show", Built, "", "", `{"hostname": text, "port": text}`},
		{GET, "{H}/instance/files", "host.instance.files.show", Built, "path", "", "raw bytes"},
		{GET, "{H}/instance/status/{coll}/{sensor}", "host.instance.status.show", Built, "", "", `{"status": {"<sensor>": value}}`},
		{PUT, "{H}/instance/_start", "host.instance.start", Built, "", "empty", "ignored, status must be 202"},
		{PUT, "{H}/instance/_pause", "host.instance.pause", Built, "", "empty", "ignored, status must be 202"},
		{PUT, "{H}/instance/_resume", "host.instance.resume", Built, "", "empty", "ignored, status must be 202"},
		{PUT, "{H}/instance/_stop", "host.instance.stop", Built, "", "empty", "ignored, status must be 202"},
		{PUT, "{H}/instance/_off", "host.instance.off", Built, "", "empty", "ignored, status must be 202"},
		{PUT, "{H}/instance/_forget", "host.instance.forget", Built, "", "empty", "ignored, status must be 202"},
		{POST, "{H}/instance/lock", "host.instance.lock", Built, "", "empty", "ignored, status must be 200"},
		{POST, "{H}/instance/unlock", "host.instance.unlock", Built, "", "empty", "ignored, status must be 200"},
		{PUT, "{H}/instance/_create_image", "host.instance.create_image", Built, "", "Image", "ignored, status must be 202"},
		{GET, "{H}/instance/alerts/", "host.instance.alerts.list", Built, "", "", "list of MonitoringAlert"},
		{DELETE, "{H}/instance/alerts/", "host.instance.alerts.clear", Built, "", "", "ignored"},
	}
}

func coreChanges() []Row {
	return []Row{
		{GET, "{H}/changes/", "host.changes.list", Built, "show_processed=False or True", "", "list of Change"},
		{GET, "{H}/changes/{num}", "host.changes.show", Built, "secret_only, no_secret, obfuscate", "", "Change"},
		{DELETE, "{H}/changes/{num}", "host.changes.delete", Built, "", "", "ignored"},
		{DELETE, "{H}/changes/", "host.changes.clear", Built, "processed_only=False (absent by default)", "", "ignored"},
		{GET, "{H}/compliance/", "host.compliance.list", Built, "", "", "list of ComplianceError"},
		{GET, "{H}/compliance/applications/{app}/services/{svc}", "host.compliance.services.show", Built, "secret_only, no_secret, obfuscate", "", "ComplianceError"},
		{GET, "{H}/compliance/applications/{app}/files/{file}", "host.compliance.files.show", Built, "secret_only, no_secret, obfuscate", "", "ComplianceError"},
		{GET, "{H}/compliance/applications/{app}/packages/{pkg}", "host.compliance.packages.show", Built, "secret_only, no_secret, obfuscate", "", "ComplianceError"},
		{GET, "{H}/compliance/applications/{app}/{type}/{id}", "host.compliance.show", Built, "secret_only, no_secret, obfuscate", "", "ComplianceError"},
		{DELETE, "{H}/compliance/applications/{app}/{type}/{id}", "host.compliance.delete", Built, "", "", "ignored"},
		{DELETE, "{H}/compliance/", "host.compliance.clear", Built, "", "", "ignored"},
		{PUT, "{H}/compliance/_rebuild", "host.compliance.rebuild", Built, "", "empty", "ignored"},
	}
}

func coreLogs() []Row {
	return []Row{
		{GET, "{O}/audit/", "audit.list", Built, "since, until, actor, kind, action, object, text, read, order, limit, cursor", "", "list of AuditLog"},
		{GET, "{O}/notification/", "notification.list", Built, "since, until, text, order, limit, cursor", "", "list of Log"},
		{GET, "{O}/agent/", "agent.list", Built, "since, until, text, order, limit, cursor", "", "list of Log"},
		{GET, "{O}/other/", "other.list", Built, "since, until, text, order, limit, cursor", "", "list of Log"},
		{GET, "{E}/audit/", "environment.audit.list", Built, "since, until, actor, kind, action, object, text, read, order, limit, cursor", "", "list of AuditLog"},
		{GET, "{E}/notification/", "environment.notification.list", Built, "since, until, text, order, limit, cursor", "", "list of Log"},
		{GET, "{E}/agent/", "environment.agent.list", Built, "since, until, text, order, limit, cursor", "", "list of Log"},
		{GET, "{E}/other/", "environment.other.list", Built, "since, until, text, order, limit, cursor", "", "list of Log"},
		{GET, "{H}/audit/", "host.audit.list", Built, "since, until, actor, kind, action, object, text, read, order, limit, cursor", "", "list of AuditLog"},
		{GET, "{H}/notification/", "host.notification.list", Built, "since, until, text, order, limit, cursor", "", "list of Log"},
		{GET, "{H}/other/", "host.other.list", Built, "since, until, text, order, limit, cursor", "", "list of Log"},
	}
}

func corePlatforms() []Row {
	return []Row{
		{GET, "{O}/platforms/", "platforms.list", Built, "", "", "list of Platform"},
		{POST, "{O}/platforms/", "platforms.create", Built, "default=true/false, test=true/false", "Platform", "Platform"},
		{GET, "{O}/platforms/{plat}", "platforms.show", Built, "secret_only, no_secret, obfuscate", "", "Platform"},
		{PUT, "{O}/platforms/{plat}", "platforms.update", Built, "force", "Platform", "Platform"},
		{PUT, "{O}/platforms/{plat}/", "platforms.rename", Built, "", "Platform", "Platform"},
		{DELETE, "{O}/platforms/{plat}", "platforms.delete", Built, "", "", "ignored"},
		{PUT, "{O}/platforms/{plat}/_clone", "platforms.clone", Built, "name", "empty", "Platform"},
		{GET, "{O}/platforms/{plat}/images", "platforms.images.show", Built, "", "", `{"items": [Image, ...]}`},
		{GET, "{O}/platforms/{plat}/driver/image_parameters", "platforms.driver.image_parameters.show", Built, "", "", `{"items": [Parameter, ...]}`},
	}
}

func coreDistributions() []Row {
	return []Row{
		{GET, "{O}/distributions/", "distributions.list", Built, "", "", "list of Distribution"},
		{POST, "{O}/distributions/", "distributions.create", Built, "flavor", "Distribution", "Distribution"},
		{GET, "{O}/distributions/{dist}", "distributions.show", Built, "secret_only, no_secret, obfuscate", "", "Distribution"},
		{PUT, "{O}/distributions/{dist}", "distributions.update", Built, "force", "Distribution", "Distribution"},
		{PUT, "{O}/distributions/{dist}/", "distributions.rename", Built, "", "Distribution", "Distribution"},
		{DELETE, "{O}/distributions/{dist}", "distributions.delete", Built, "", "", "ignored"},
		{PUT, "{O}/distributions/{dist}/_clone", "distributions.clone", Built, "name", "empty", "Distribution"},
		{POST, "{O}/distributions/{dist}/lock", "distributions.lock", Built, "", "empty", "ignored, status must be 200"},
		{POST, "{O}/distributions/{dist}/unlock", "distributions.unlock", Built, "", "empty", "ignored, status must be 200"},
		{GET, "/flavors/", "flavors.list", Built, "", "", "list of Flavor"},
		{GET, "/flavors/{flavor}", "flavors.show", Built, "secret_only, no_secret, obfuscate", "", "Flavor"},
	}
}

func coreApplications() []Row {
	return []Row{
		{GET, "{O}/applications/", "applications.list", Built, "", "", "list of Application"},
		{POST, "{O}/applications/", "applications.create", Built, "", "Application", "Application"},
		{GET, "{O}/applications/{app}", "applications.show", Built, "secret_only, no_secret, obfuscate", "", "Application"},
		{PUT, "{O}/applications/{app}", "applications.update", Built, "force", "Application", "Application"},
		{PUT, "{O}/applications/{app}/", "applications.rename", Built, "", "Application", "Application"},
		{DELETE, "{O}/applications/{app}", "applications.delete", Built, "", "", "ignored"},
		{PUT, "{O}/applications/{app}/_clone", "applications.clone", Built, "name", "empty", "Application"},
		{POST, "{O}/applications/{app}/lock", "applications.lock", Built, "", "empty", "ignored, status must be 200"},
		{POST, "{O}/applications/{app}/unlock", "applications.unlock", Built, "", "empty", "ignored, status must be 200"},
	}
}

func coreFiles() []Row {
	return []Row{
		{GET, "{T}/files/", "files.list", Built, "", "", "list of File"},
		{POST, "{T}/files/", "files.create", Built, "", "File", "File"},
		{GET, "{T}/files/{file}", "files.show", Built, "secret_only, no_secret, obfuscate", "", "File"},
		{PUT, "{T}/files/{file}", "files.update", Built, "force", "File", "File"},
		{DELETE, "{T}/files/{file}", "files.delete", Built, "", "", "ignored"},
		{GET, "{T}/files/{file}/content", "files.content.show", Built, "", "", "raw bytes"},
		{POST, "{T}/files/{file}/content", "files.content.set", Built, "", "multipart form, field file", "ignored, status never looked at"},
		{GET, "{T}/parameters/", "parameters.list", Built, "", "", "list of Parameter"},
		{POST, "{T}/parameters/", "parameters.create", Built, "", "Parameter", "Parameter"},
		{GET, "{T}/parameters/{param}", "parameters.show", Built, "secret_only, no_secret, obfuscate", "", "Parameter"},
		{PUT, "{T}/parameters/{param}", "parameters.update", Built, "force", "Parameter", "Parameter"},
		{DELETE, "{T}/parameters/{param}", "parameters.delete", Built, "", "", "ignored"},
		{GET, "{T}/thumb", "thumb.show", Built, "", "", "raw bytes"},
		{POST, "{T}/thumb", "thumb.set", Built, "", "multipart form, field file", "ignored"},
	}
}

func coreJobs() []Row {
	return []Row{
		{GET, "{O}/jobs/", "jobs.list", Built, "", "", "list of Job"},
		{POST, "{O}/jobs/", "jobs.create", Built, "", "Job", "Job"},
		{GET, "{O}/jobs/{job}", "jobs.show", Built, "secret_only, no_secret, obfuscate", "", "Job"},
		{PUT, "{O}/jobs/{job}", "jobs.update", Built, "force", "Job", "Job"},
		{DELETE, "{O}/jobs/{job}", "jobs.delete", Built, "", "", "ignored"},
		{PUT, "{O}/jobs/{job}//_run", "jobs.run", Built, "wait=True or False", "empty", "ignored"},
	}
}
