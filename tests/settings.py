"""The site's settings as a bare clone has them, whatever the developer's environment and `.env` say.

`TEST_DATABASE_URL` chooses another database than a fresh SQLite file.
"""

import atexit
import os
import shutil
import tempfile

for name in list(os.environ):
    if name.startswith(
        (
            "DISCORD_",
            "SANDBOX_",
            "SITE_",
            "LOG_",
            "WEB_",
            "SECRET_KEY",
            "TOKEN_KEYS",
            "ALLOWED_HOSTS",
            "METRICS_",
            "API_",
            "CORS_",
            "PROMETHEUS_",
            "REDIS_",
            "GUILDHALL_MEMBERSHIP_",
        )
    ):
        del os.environ[name]
os.environ["ENV_FILE"] = os.devnull
# In memory where there is such a folder: each test empties the tables, and waits for the disk if there is one.
memory = "/dev/shm"
os.environ["VAR_DIR"] = tempfile.mkdtemp(prefix="guildhall-tests-", dir=memory if os.path.isdir(memory) else None)
atexit.register(shutil.rmtree, os.environ["VAR_DIR"], ignore_errors=True)
os.environ["SECRET_KEY"] = "only for tests"
os.environ["TOKEN_KEYS"] = "dGVzdHMgc2VhbCB0aGVpciB0b2tlbnMgd2l0aCB0aGk="
# Tests write such rows themselves; no thread may, into whichever test's database.
os.environ["SERVING_FLUSH_SECONDS"] = "0"
os.environ["DATABASE_URL"] = os.environ.get("TEST_DATABASE_URL", "sqlite://:memory:")

from config.settings import *  # noqa: E402, F403 - the environment comes first
from config.settings import DATABASES, STATIC_ROOT  # noqa: E402 - as above

# whitenoise warns of a folder that isn't there.
STATIC_ROOT.mkdir(exist_ok=True)

if DATABASES["default"]["ENGINE"].endswith("sqlite3"):
    # A file, because the engine's threads have connections of their own.
    DATABASES["default"]["TEST"] = {"NAME": os.path.join(os.environ["VAR_DIR"], "test.sqlite3")}
STORAGES = {
    "default": {"BACKEND": "django.core.files.storage.FileSystemStorage"},
    "staticfiles": {"BACKEND": "django.contrib.staticfiles.storage.StaticFilesStorage"},
}
PASSWORD_HASHERS = ["django.contrib.auth.hashers.MD5PasswordHasher"]
