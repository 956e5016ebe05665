"""Which apps' migrations haven't been made or applied, and which ones of the database the code doesn't know."""

from django.apps import apps
from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.migrations.autodetector import MigrationAutodetector
from django.db.migrations.executor import MigrationExecutor
from django.db.migrations.loader import MigrationLoader
from django.db.migrations.questioner import MigrationQuestioner
from django.db.migrations.state import ProjectState


def problems(database: BaseDatabaseWrapper) -> list[str]:
    """Return a sentence that names the apps and what to run, for each kind of problem."""
    found = []
    if labels := unmade():
        run = f"./run manage makemigrations {' '.join(labels)}"
        found.append(
            f"Models have changed without a migration in {', '.join(labels)}; run {run}, then ./run manage migrate."
        )
    if labels := unapplied(database):
        found.append(f"Migrations have not been applied in {', '.join(labels)}; run ./run manage migrate.")
    if names := unknown(database):
        found.append(
            f"The database is from a newer version: it has {', '.join(names)}, which this version doesn't know. "
            "Update the code."
        )
    return found


def unmade() -> list[str]:
    """Return the labels of the apps whose models differ from their migrations. Reads no database."""
    loader = MigrationLoader(None)
    # Django's own warning leaves these out, such as an app whose first model is new. None turns migrations off.
    new = {label for label in loader.unmigrated_apps if loader.migrations_module(label)[0] is not None}
    detector = MigrationAutodetector(
        loader.project_state(), ProjectState.from_apps(apps), MigrationQuestioner({"ask_initial": True})
    )
    return sorted(detector.changes(graph=loader.graph, convert_apps=new or None))


def unknown(database: BaseDatabaseWrapper) -> list[str]:
    """Return the migrations, as `app.name`, that the database has and the code of their app doesn't."""
    loader = MigrationLoader(database)
    known = {*loader.disk_migrations, *loader.graph.nodes}
    return sorted(
        f"{label}.{name}"
        for label, name in loader.applied_migrations
        if label in loader.migrated_apps and (label, name) not in known
    )


def unapplied(database: BaseDatabaseWrapper) -> list[str]:
    """Return the labels of the apps with migrations that the database doesn't have yet."""
    executor = MigrationExecutor(database)
    plan = executor.migration_plan(executor.loader.graph.leaf_nodes())
    return sorted({migration.app_label for migration, _backwards in plan})
