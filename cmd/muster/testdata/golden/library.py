"""Goes through a host's life with the published client's library: python3 library.py URL USER PASSWORD-FILE."""

import sys

from comodit_client.api import Client
from comodit_client.api.exceptions import PythonApiException

url, user, password_file = sys.argv[1:]
with open(password_file) as f:
    client = Client(url, user, f.read().strip(), None)

WAIT = 100  # seconds


def check(what, is_so):
    print(what if is_so else "WRONG: " + what, flush=True)


org = client.organizations().create("lib")
check("an organization has a key", bool(org.access_key))
check("and is populated", [e.name for e in org.environments()] == ["Default"])
env = org.environments().create("Dev", "d")
plat = org.platforms().create("cloud", "d", "com.guardis.cortex.server.driver.AmazonEc2Driver")
dist = org.distributions().create("os", "d", "debian")
app = org.applications().new("web")
app.set_json({
    "name": "web", "description": "", "packages": [{"name": "nginx"}], "services": [{"name": "nginx", "enabled": True}],
    "files": [{"name": "conf", "path": "/etc/conf", "mode": "644", "template": {"name": "conf", "delimiter": {"start": "${", "end": "}"}}}],
    "parameters": [{"name": "Port", "key": "port", "value": "80", "schema": {"type": "string"}}],
    "handlers": [{"name": "reload", "on": ["port"], "do": [{"action": "update", "resource": "file://conf"}, {"action": "restart", "resource": "service://nginx"}]}],
})
app.create()
with open("conf.tpl", "w") as f:
    f.write("port ${port}\n")
app.get_file("conf").set_content("conf.tpl")
check("a file has its content", app.get_file("conf").read_content() == "port ${port}\n")

host = env.hosts().create("h1", "a host", "cloud", "os")
check("a new host is DEFINED", host.state == "DEFINED")
instance = host.provision()
check("an instance is answered at once", instance.state in ("STARTING", "RUNNING"))
host.wait_for_state("READY", WAIT)
check("a provisioned host becomes READY", host.state == "READY")
check("its instance runs", host.get_instance().state == "RUNNING" and host.get_instance().agent_state == "Up")
check("its address is told", host.get_instance().wait_for_address(WAIT).startswith("10."))

host.install("web", {"port": "81"})
host.wait_for_pending_changes(WAIT)
changes = list(host.all_changes())
check("an installation is one change", len(changes) == 1 and changes[0].description == "Install application web")
check("all its tasks are OK", [t.status for t in changes[0].tasks] == ["OK"] * len(changes[0].tasks))
check("the file is rendered with the context's setting", host.render_app_file("web", "conf") == "port 81\n")
host.wait_for_state("READY", WAIT)

context = host.get_application("web")
context.settings().get("port").delete()
host.wait_for_pending_changes(WAIT)
env.settings().create("port", "82")
host.wait_for_pending_changes(WAIT)
check("a setting of the environment runs the handler", len(list(host.all_changes())) == 3)
check("and is what the file is rendered with", host.render_app_file("web", "conf") == "port 82\n")

host.wait_for_change_terminated(host.get_application("web").run_handler("reload"), WAIT)
change = list(host.all_changes())[-1]
check("a handler that is run is waited for", [t.status for t in change.tasks] == ["OK", "OK"])
host.live_restart_service("web", "nginx")
host.live_update_file("web", "conf")
host.live_install_package("web", "nginx", None)
host.wait_for_pending_changes(WAIT)
check("live actions are changes", len(list(host.all_changes())) == 7)
check("none of them failed", not any(t.status == "ERROR" for c in host.all_changes() for t in c.tasks))

instance = host.get_instance()
instance.pause()
instance.wait_for_state("PAUSED", WAIT)
instance.resume()
instance.wait_for_state("RUNNING", WAIT)
instance.shutdown()
instance.wait_for_state("STOPPED", WAIT)
instance.start()
instance.wait_for_state("RUNNING", WAIT)
check("a machine goes through its states", instance.state == "RUNNING")

host.uninstall("web")
host.wait_for_pending_changes(WAIT)
check("an application is uninstalled", env.get_host("h1").application_names == [])
host.get_instance().delete()
check("a host without an instance is DEFINED", env.get_host("h1").state == "DEFINED")
host.delete()
check("a deleted host is not listed", [h.name for h in env.hosts()] == [])
try:
    env.hosts().create("h1", "", "nope", "os")
    check("a platform that is not there is refused", False)
except PythonApiException as e:
    check("a platform that is not there is refused", "nope" in str(e))
print("done")
