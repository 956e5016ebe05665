"""The settings of a fresh clone, independent of the developer's environment, `.env` and the site's own folder.

`TEST_DATABASE_URL` selects a database other than a new SQLite file.
"""

import atexit
import os
import shutil
import sys
import tempfile
from pathlib import Path

from config.mysite import FOLDER

for name in list(os.environ):
    if name.startswith(
        (
            "DELETIONS_",
            "DISCORD_",
            "PORT",
            "SANDBOX",
            "SITE_",
            "HSTS_",
            "LOG_",
            "WEB_",
            "SECRET_KEY",
            "TOKEN_KEYS",
            "ALLOWED_HOSTS",
            "METRICS_",
            "API_",
            "PASSWORD_",
            "SIGN_IN_",
            "STAFF_",
            "CORS_",
            "PROMETHEUS_",
            "REDIS_",
            "SENTRY_",
            "OTEL_",
            "GUILDHALL_MEMBERSHIP_",
        )
    ):
        del os.environ[name]
os.environ["ENV_FILE"] = os.devnull
# The project's tests run without the site's own folder, and `./run test mysite` with it. Other processes of the run
# inherit the variable.
for_site = any(Path(argument.partition("::")[0]).resolve().is_relative_to(FOLDER) for argument in sys.argv[1:])
os.environ["MYSITE"] = os.environ.setdefault("TEST_MYSITE", str(int(for_site)))
# In memory if there is such a folder, because each test empties the tables, which is slow on disk.
memory = "/dev/shm"
os.environ["VAR_DIR"] = tempfile.mkdtemp(prefix="guildhall-tests-", dir=memory if os.path.isdir(memory) else None)
atexit.register(shutil.rmtree, os.environ["VAR_DIR"], ignore_errors=True)
os.environ["SECRET_KEY"] = "only for tests"
os.environ["TOKEN_KEYS"] = "dGVzdHMgc2VhbCB0aGVpciB0b2tlbnMgd2l0aCB0aGk="
# Off, because a thread could write into another test's database; tests write these rows themselves.
os.environ["SERVING_FLUSH_SECONDS"] = "0"
os.environ["DATABASE_URL"] = os.environ.get("TEST_DATABASE_URL", "sqlite://:memory:")

from config.settings import *  # noqa: E402, F403 - the environment comes first
from config.settings import DATABASES, STATIC_ROOT  # noqa: E402 - as above

# whitenoise warns about a missing folder.
STATIC_ROOT.mkdir(exist_ok=True)

if DATABASES["default"]["ENGINE"].endswith("sqlite3"):
    # A file, because the engine's threads use their own connections.
    DATABASES["default"]["TEST"] = {"NAME": os.path.join(os.environ["VAR_DIR"], "test.sqlite3")}
STORAGES = {
    "default": {"BACKEND": "django.core.files.storage.FileSystemStorage"},
    "staticfiles": {"BACKEND": "django.contrib.staticfiles.storage.StaticFilesStorage"},
}
PASSWORD_HASHERS = ["django.contrib.auth.hashers.MD5PasswordHasher"]
