"""What `import tinymixer` costs."""

import subprocess
import sys

LOADED_FROM_SITE_PACKAGES = """
import sys, tinymixer, tinymixer.data, tinymixer.gradcheck, tinymixer.optim, tinymixer.training
files = {name.split(".")[0]: getattr(module, "__file__", None) or "" for name, module in sys.modules.items()}
print(",".join(sorted(name for name, file in files.items() if "site-packages" in file)))
"""


def test_importing_the_package_needs_numpy_alone():
    done = subprocess.run([sys.executable, "-c", LOADED_FROM_SITE_PACKAGES], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    packages = {name for name in done.stdout.strip().split(",") if not name.startswith(("_", "sitecustomize"))}
    assert packages <= {"numpy", "tinymixer"}
