"""Prints every command that the published client has, as it registers them itself."""

from comodit_client import dispatch
from comodit_client.control import router


def walk(path, controller, above):
    for action in sorted(controller._actions):
        if not action.startswith("__"):  # completion of shells
            print(" ".join(path + [action]))
    for name, below in sorted(controller._subcontrollers.items()):
        if below not in above:
            walk(path + [name], below, above + [below])


dispatch._parse = lambda argv: None  # registered is before anything is parsed
dispatch.run([])
for noun, of in sorted(router.controllers.items()):
    walk([noun], of, [of])
