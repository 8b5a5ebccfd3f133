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


def test_a_lessons_first_import_loads_no_model_and_no_engine():
    code = "import sys, tinymixer.lessons; print(*(name for name in sys.modules if name.startswith('tinymixer.')))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    parts = {name.split(".")[1] for name in done.stdout.split()}
    assert not parts & {"backend", "data", "engines", "layers", "models", "ops", "optim", "training"}


def test_every_name_that_lessons_import_is_there():
    from tinymixer import lessons

    assert all(getattr(lessons, name) for name in lessons.__all__)
    assert set(lessons.__all__) <= set(dir(lessons))
    assert not hasattr(lessons, "no_such_name")
