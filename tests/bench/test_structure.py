"""The measures of docs/architecture.md that have a bound, apart from those that `./run check` keeps."""

from bench import structure


def test_no_function_is_longer_than_forty_lines() -> None:
    assert [place for length, place in structure.functions() if length > 40] == []


def test_no_packages_of_guilds_import_each_other() -> None:
    _, arrows = structure.rooms()

    assert len(arrows) > 50
    assert structure.circles(arrows) == []


def test_few_modules_stand_outside_of_the_packages_of_guilds() -> None:
    names, _ = structure.rooms()
    modules = [name for name in names if (structure.ROOT / "guilds" / f"{name}.py").exists()]

    assert 0 < len(modules) <= 16
