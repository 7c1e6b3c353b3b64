package spec

// extended is contract section 2.2: the EXTENDED part, row by row and in the order of the page.
func extended() []Section {
	return []Section{
		{Extended, "Hostgroups", extendedHostgroups()},
		{Extended, "Package and module properties", extendedPackage()},
		{Extended, "Rpm modules and git repositories of an application", extendedRpmModules()},
		{Extended, "Orchestrations", extendedOrchestrations()},
		{Extended, "Pipelines", extendedPipelines()},
		{Extended, "Webhooks and notification channels", extendedWebhooks()},
		{Extended, "Store and purchases", extendedStore()},
	}
}

func extendedHostgroups() []Row {
	return []Row{
		{GET, "{O}/hostgroups/", "hostgroups.list", Built, "", "", "list of Hostgroup"},
		{POST, "{O}/hostgroups/", "hostgroups.create", Built, "", "Hostgroup", "Hostgroup"},
		{GET, "{O}/hostgroups/{hg}", "hostgroups.show", Built, "secret_only, no_secret, obfuscate", "", "Hostgroup"},
		{PUT, "{O}/hostgroups/{hg}", "hostgroups.update", Built, "force", "Hostgroup", "Hostgroup"},
		{DELETE, "{O}/hostgroups/{hg}", "hostgroups.delete", Built, "", "", "ignored"},
		{GET, "{O}/hostgroups/{hg}/settings/", "hostgroups.settings.list", Built, "secret_only, no_secret, obfuscate, key", "", "list of Setting"},
		{POST, "{O}/hostgroups/{hg}/settings/", "hostgroups.settings.create", Built, "trigger_* flags", "Setting", "Setting"},
		{GET, "{O}/hostgroups/{hg}/settings/{key}", "hostgroups.settings.show", Built, "secret_only, no_secret, obfuscate", "", "Setting"},
		{PUT, "{O}/hostgroups/{hg}/settings/{key}", "hostgroups.settings.update", Built, "force, trigger_* flags", "Setting", "Setting"},
		{DELETE, "{O}/hostgroups/{hg}/settings/{key}", "hostgroups.settings.delete", Built, "", "", "ignored"},
		{PUT, "{O}/hostgroups/{hg}/settings/", "hostgroups.settings.bulk", Built, "no_delete", `{"newOrUpdatedSettings": [...]}`, "non-empty JSON"},
		{GET, "{O}/hostgroups/{hg}/application_properties/", "hostgroups.application_properties.list", Built, "secret_only, no_secret, obfuscate", "", "list of ResourceProperty"},
	}
}

func extendedPackage() []Row {
	return []Row{
		{GET, "{R}/applications/{app}/packages/{pkg}/properties/{key}", "applications.packages.properties.show", Planned, "", "", "ResourceProperty"},
		{POST, "{R}/applications/{app}/packages/{pkg}/properties/{key}", "applications.packages.properties.create", Planned, "trigger_* flags", "ResourceProperty", "ResourceProperty"},
		{PUT, "{R}/applications/{app}/packages/{pkg}/properties/{key}", "applications.packages.properties.update", Planned, "force", "ResourceProperty", "ResourceProperty"},
		{DELETE, "{R}/applications/{app}/packages/{pkg}/properties/{key}", "applications.packages.properties.delete", Planned, "", "", "ignored"},
		{GET, "{R}/applications/{app}/packages/{pkg}/properties/{key}/impact", "applications.packages.properties.impact.show", Planned, "", "", "SettingImpact"},
		{GET, "{R}/applications/{app}/rpmmodules/{mod}/properties/{key}", "applications.rpmmodules.properties.show", Planned, "", "", "ResourceProperty"},
		{POST, "{R}/applications/{app}/rpmmodules/{mod}/properties/{key}", "applications.rpmmodules.properties.create", Planned, "trigger_* flags", "ResourceProperty", "ResourceProperty"},
		{PUT, "{R}/applications/{app}/rpmmodules/{mod}/properties/{key}", "applications.rpmmodules.properties.update", Planned, "force", "ResourceProperty", "ResourceProperty"},
		{DELETE, "{R}/applications/{app}/rpmmodules/{mod}/properties/{key}", "applications.rpmmodules.properties.delete", Planned, "", "", "ignored"},
		{GET, "{R}/applications/{app}/rpmmodules/{mod}/properties/{key}/impact", "applications.rpmmodules.properties.impact.show", Planned, "", "", "SettingImpact"},
	}
}

func extendedRpmModules() []Row {
	return []Row{
		{GET, "{O}/applications/{app}/rpmmodules/", "applications.rpmmodules.list", Built, "", "", "list of RpmModule"},
		{POST, "{O}/applications/{app}/rpmmodules/", "applications.rpmmodules.create", Built, "", "RpmModule", "RpmModule"},
		{GET, "{O}/applications/{app}/rpmmodules/{mod}", "applications.rpmmodules.show", Built, "secret_only, no_secret, obfuscate", "", "RpmModule"},
		{PUT, "{O}/applications/{app}/rpmmodules/{mod}", "applications.rpmmodules.update", Built, "force", "RpmModule", "RpmModule"},
		{DELETE, "{O}/applications/{app}/rpmmodules/{mod}", "applications.rpmmodules.delete", Built, "", "", "ignored"},
		{GET, "{O}/applications/{app}/gits/", "applications.gits.list", Built, "", "", "list of Git"},
		{POST, "{O}/applications/{app}/gits/", "applications.gits.create", Built, "", "Git", "Git"},
		{GET, "{O}/applications/{app}/gits/{git}", "applications.gits.show", Built, "secret_only, no_secret, obfuscate", "", "Git"},
		{PUT, "{O}/applications/{app}/gits/{git}", "applications.gits.update", Built, "force", "Git", "Git"},
		{DELETE, "{O}/applications/{app}/gits/{git}", "applications.gits.delete", Built, "", "", "ignored"},
		{PUT, "{H}/applications/{app}/gits/{git}/_install", "host.applications.gits.install", Planned, "branch", "empty", "ignored"},
	}
}

func extendedOrchestrations() []Row {
	return []Row{
		{GET, "{O}/orchestrations/", "orchestrations.list", Built, "", "", "list of Orchestration"},
		{POST, "{O}/orchestrations/", "orchestrations.create", Built, "", "Orchestration", "Orchestration"},
		{GET, "{O}/orchestrations/{orch}", "orchestrations.show", Built, "secret_only, no_secret, obfuscate", "", "Orchestration"},
		{PUT, "{O}/orchestrations/{orch}", "orchestrations.update", Built, "force", "Orchestration", "Orchestration"},
		{DELETE, "{O}/orchestrations/{orch}", "orchestrations.delete", Built, "", "", "ignored"},
		{PUT, "{O}/orchestrations/{orch}/_clone", "orchestrations.clone", Built, "name", "empty", "Orchestration"},
		{PUT, "{O}/orchestrations/{orch}/_run", "orchestrations.run", Planned, "", "empty", "OrchestrationContext"},
		{GET, "{O}/orchestrations/{orch}/contexts/", "orchestrations.contexts.list", Planned, "", "", "list of OrchestrationContext"},
		{GET, "{O}/orchestrations/{orch}/contexts/{ctx}", "orchestrations.contexts.show", Planned, "", "", "OrchestrationContext"},
		{PUT, "{O}/orchestrations/{orch}/contexts/{ctx}/_pause", "orchestrations.contexts.pause", Planned, "", "empty", "non-empty JSON"},
		{PUT, "{O}/orchestrations/{orch}/contexts/{ctx}/_cancel", "orchestrations.contexts.cancel", Planned, "", "empty", "non-empty JSON"},
		{PUT, "{O}/orchestrations/{orch}/contexts/{ctx}/_resume", "orchestrations.contexts.resume", Planned, "", "empty", "non-empty JSON"},
		{PUT, "{O}/orchestrations/{orch}/contexts/{ctx}/_restart", "orchestrations.contexts.restart", Planned, "", `{"skipError": bool}`, "non-empty JSON"},
		{GET, "{O}/orchestrations/{orch}/handlers/", "orchestrations.handlers.list", Built, "", "", "list of OrchestrationHandler"},
		{POST, "{O}/orchestrations/{orch}/handlers/", "orchestrations.handlers.create", Built, "", "OrchestrationHandler", "OrchestrationHandler"},
		{GET, "{O}/orchestrations/{orch}/handlers/{handler}", "orchestrations.handlers.show", Built, "secret_only, no_secret, obfuscate", "", "OrchestrationHandler"},
		{PUT, "{O}/orchestrations/{orch}/handlers/{handler}", "orchestrations.handlers.update", Built, "force", "OrchestrationHandler", "OrchestrationHandler"},
		{DELETE, "{O}/orchestrations/{orch}/handlers/{handler}", "orchestrations.handlers.delete", Built, "", "", "ignored"},
		{GET, "{H}/orchestrations", "host.orchestrations.list", Built, "", "", "list of Orchestration"},
		{PUT, "{H}/orchestrations/{orch}/_run", "host.orchestrations.run", Planned, "", "empty", "OrchestrationContext"},
	}
}

func extendedPipelines() []Row {
	return []Row{
		{GET, "{O}/pipelines/", "pipelines.list", Planned, "", "", "list of Pipeline"},
		{POST, "{O}/pipelines/", "pipelines.create", Planned, "", "Pipeline", "Pipeline"},
		{GET, "{O}/pipelines/{pipe}", "pipelines.show", Planned, "secret_only, no_secret, obfuscate", "", "Pipeline"},
		{PUT, "{O}/pipelines/{pipe}", "pipelines.update", Planned, "force", "Pipeline", "Pipeline"},
		{DELETE, "{O}/pipelines/{pipe}", "pipelines.delete", Planned, "", "", "ignored"},
		{PUT, "{O}/pipelines/{pipe}/_clone", "pipelines.clone", Planned, "name", "empty", "Pipeline"},
		{PUT, "{O}/pipelines/{pipe}/_run", "pipelines.run", Planned, "", "empty", "PipelineContext"},
		{GET, "{O}/pipelines/{pipe}/contexts/", "pipelines.contexts.list", Planned, "", "", "list of PipelineContext"},
		{GET, "{O}/pipelines/{pipe}/contexts/{ctx}", "pipelines.contexts.show", Planned, "", "", "PipelineContext"},
		{PUT, "{O}/pipelines/{pipe}/contexts/{ctx}/_pause", "pipelines.contexts.pause", Planned, "", "empty", "non-empty JSON"},
		{PUT, "{O}/pipelines/{pipe}/contexts/{ctx}/_cancel", "pipelines.contexts.cancel", Planned, "", "empty", "non-empty JSON"},
		{PUT, "{O}/pipelines/{pipe}/contexts/{ctx}/_resume", "pipelines.contexts.resume", Planned, "", "empty", "non-empty JSON"},
		{PUT, "{O}/pipelines/{pipe}/contexts/{ctx}/_restart", "pipelines.contexts.restart", Planned, "", `{"skipError": bool}`, "non-empty JSON"},
		{GET, "{O}/pipelines/{pipe}/stages/", "pipelines.stages.list", Planned, "", "", "list of Stage"},
		{POST, "{O}/pipelines/{pipe}/stages/", "pipelines.stages.create", Planned, "", "Stage", "Stage"},
		{GET, "{O}/pipelines/{pipe}/stages/{stage}", "pipelines.stages.show", Planned, "secret_only, no_secret, obfuscate", "", "Stage"},
		{PUT, "{O}/pipelines/{pipe}/stages/{stage}", "pipelines.stages.update", Planned, "force", "Stage", "Stage"},
		{DELETE, "{O}/pipelines/{pipe}/stages/{stage}", "pipelines.stages.delete", Planned, "", "", "ignored"},
		{GET, "{O}/pipelines/{pipe}/stages/{stage}/steps/", "pipelines.stages.steps.list", Planned, "", "", "list of Step"},
		{POST, "{O}/pipelines/{pipe}/stages/{stage}/steps/", "pipelines.stages.steps.create", Planned, "", "Step", "Step"},
		{GET, "{O}/pipelines/{pipe}/stages/{stage}/steps/{step}", "pipelines.stages.steps.show", Planned, "secret_only, no_secret, obfuscate", "", "Step"},
		{PUT, "{O}/pipelines/{pipe}/stages/{stage}/steps/{step}", "pipelines.stages.steps.update", Planned, "force", "Step", "Step"},
		{DELETE, "{O}/pipelines/{pipe}/stages/{stage}/steps/{step}", "pipelines.stages.steps.delete", Planned, "", "", "ignored"},
	}
}

func extendedWebhooks() []Row {
	return []Row{
		{GET, "{O}/webhooks/", "webhooks.list", Built, "", "", "list of Webhook"},
		{POST, "{O}/webhooks/", "webhooks.create", Built, "", "Webhook", "Webhook"},
		{GET, "{O}/webhooks/{hook}", "webhooks.show", Built, "secret_only, no_secret, obfuscate", "", "Webhook"},
		{PUT, "{O}/webhooks/{hook}", "webhooks.update", Built, "force", "Webhook", "Webhook"},
		{DELETE, "{O}/webhooks/{hook}", "webhooks.delete", Built, "", "", "ignored"},
		{PUT, "{O}/webhooks/{hook}/_run", "webhooks.run", Built, "", "empty", "WebhookResult"},
		{GET, "{O}/notifications/", "notifications.list", Built, "", "", "list of NotificationChannel"},
		{POST, "{O}/notifications/", "notifications.create", Built, "", "NotificationChannel", "NotificationChannel"},
		{GET, "{O}/notifications/{chan}", "notifications.show", Built, "secret_only, no_secret, obfuscate", "", "NotificationChannel"},
		{PUT, "{O}/notifications/{chan}", "notifications.update", Built, "force", "NotificationChannel", "NotificationChannel"},
		{DELETE, "{O}/notifications/{chan}", "notifications.delete", Built, "", "", "ignored"},
		{PUT, "{O}/notifications/{chan}/_run", "notifications.run", Built, "", "empty", "ignored"},
	}
}

func extendedStore() []Row {
	return []Row{
		{GET, "/store/{K}/", "store.list", Planned, "filter=public/private/featured, org_name", "", "list of Published"},
		{POST, "/store/{K}/", "store.create", Planned, "", "Published (application or distribution = uuid)", "Published"},
		{GET, "/store/{K}/{uuid}", "store.show", Planned, "filter, org_name, secret_only, no_secret, obfuscate", "", "Published"},
		{PUT, "/store/{K}/{uuid}", "store.update", Planned, "", "Published", "Published"},
		{DELETE, "/store/{K}/{uuid}", "store.delete", Planned, "", "", "ignored"},
		{PUT, "/store/{K}/{uuid}/organizations", "store.organizations.set", Planned, "", "list of organization names", "Published"},
		{GET, "{O}/purchased/{K}/", "purchased.list", Planned, "", "", "list of Purchased"},
		{POST, "{O}/purchased/{K}/", "purchased.create", Planned, "", "Purchased", "Purchased"},
		{GET, "{O}/purchased/{K}/{uuid}", "purchased.show", Planned, "", "", "Purchased"},
		{PUT, "{O}/purchased/{K}/{uuid}", "purchased.update", Planned, "", "Purchased", "Purchased"},
	}
}
